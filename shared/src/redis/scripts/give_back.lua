-- Gives a claim back after a produce that definitely failed: claims, record and the customer's entry together, and only
-- while the record is still this attempt's and the only one. A second attempt may have produced what this one could not.
--
-- KEYS  1 record, 2 customer, 3 undecided, then per section: its five keys
-- ARGV  1 uuid, 2 held_at_ms, 3 kinds of the sections, then per seat: index of its section (from 1), number
local record, uuid, sections = KEYS[1], ARGV[1], sections_from(4, ARGV[3])
local attempts, told, message = read_record(record)
if attempts ~= '1' or told ~= '' then return 0 end
if cjson.decode(message).held_at_ms ~= tonumber(ARGV[2]) then return 0 end
for i = 4, #ARGV, 2 do
  local section = sections[tonumber(ARGV[i])]
  local _, owner = noted(section, ARGV[i + 1])
  if owner == uuid then forget(section, ARGV[i + 1]) end
end
redis.call('HDEL', KEYS[2], uuid)
redis.call('ZREM', KEYS[3], uuid)
redis.call('DEL', record)
return 1
