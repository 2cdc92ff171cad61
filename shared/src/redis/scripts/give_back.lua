-- Gives a claim back after a produce that definitely failed: claims, record and the customer's entry together, and only
-- while the record is still this attempt's and the only one. A second attempt may have produced what this one could not.
--
-- KEYS  1 record, 2 customer, then per section: claims
-- ARGV  1 uuid, 2 held_at_ms, then per seat: index of its section (from 0), number
local record, uuid = KEYS[1], ARGV[1]
-- Attempts and outcome are the record's first two lines.
local message = string.match(redis.call('GET', record) or '', '^1\n\n(.*)$')
if not message then return 0 end
if cjson.decode(message).held_at_ms ~= tonumber(ARGV[2]) then return 0 end
for i = 3, #ARGV, 2 do
  local claims = KEYS[3 + tonumber(ARGV[i])]
  local claim = redis.call('HGET', claims, ARGV[i + 1])
  if claim and string.sub(claim, 15) == uuid then redis.call('HDEL', claims, ARGV[i + 1]) end
end
redis.call('HDEL', KEYS[2], uuid)
redis.call('DEL', record)
return 1
