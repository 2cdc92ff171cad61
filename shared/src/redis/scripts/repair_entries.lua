-- Makes customers' entries here what DynamoDB has, each only where it still says what it said before DynamoDB was read.
--
-- KEYS  the customer of each repair
-- ARGV  1 when the entries were looked at, in ms, 2 how long ago that may be, in ms
--       then per repair: uuid, what was seen ('' = none), what it has to say ('' = none)
-- Returns the positions (from 0) of what was repaired; none where it is too late
local repaired = {}
if now - tonumber(ARGV[1]) > tonumber(ARGV[2]) then return repaired end
for i, customer in ipairs(KEYS) do
  local uuid, seen, wanted = ARGV[3 * i], ARGV[3 * i + 1], ARGV[3 * i + 2]
  if (redis.call('HGET', customer, uuid) or '') == seen then
    if wanted == '' then
      redis.call('HDEL', customer, uuid)
    else
      redis.call('HSET', customer, uuid, wanted)
    end
    repaired[#repaired + 1] = i - 1
  end
end
return repaired
