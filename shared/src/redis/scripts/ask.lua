-- The first step of every change of a reservation: the time, and the record. A live claim is kept alive a little longer,
-- so that nobody else is promised its seats while DynamoDB decides; and the change is announced, so that whoever dies
-- after DynamoDB's answer leaves a trace to be healed from.
--
-- KEYS  1 event, 2 record, 3 moving, 4 the caller's customer entry
-- ARGV  1 uuid, 2 the caller ('' = may change anybody's), 3 how long, in ms
--       4 … 8 patterns of a section's five keys, %s for its label
-- Returns now, since (0 = no loss), the message, what is told, the token of this announcement ('' = none)
local uuid, caller, grace = ARGV[1], ARGV[2], tonumber(ARGV[3])
redis.call('HSETNX', KEYS[1], 'since', now)
local since = redis.call('HGET', KEYS[1], 'since')
local _, told, message = read_record(KEYS[2])
local request = message and cjson.decode(message)
if request and caller ~= '' and request.customer ~= caller then
  return { tostring(now), since, message, told, '' }
end
local token = ''
if request or (caller ~= '' and redis.call('HEXISTS', KEYS[4], uuid) == 1) then
  -- One for each change: another that is told says nothing of this one.
  local unique = now
  while redis.call('ZSCORE', KEYS[3], announcement(uuid, unique)) do unique = unique + 1 end
  token = string.format('%d', unique)
  redis.call('ZADD', KEYS[3], now, announcement(uuid, token))
end
if request then
  local _, prolonged = read_told(told)
  local ends_at = math.max(prolonged, request.expires_at_ms)
  local lifted = math.min(now, ends_at) + grace
  for _, seat in ipairs(request.seats) do
    local label, general = label_of(seat.id)
    local keys = {}
    for n = 4, 8 do keys[n - 3] = string.format(ARGV[n], label) end
    local section = section_of(keys[1], keys[2], keys[3], keys[4], keys[5], general)
    local expiry, owner = noted(section, seat.number)
    if owner == uuid and expiry > now and expiry < lifted then note(section, seat.number, lifted, uuid) end
  end
end
return { tostring(now), since, message or '', told or '', token }
