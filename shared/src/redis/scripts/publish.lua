-- Makes a publication known: version, state, window, limit and lease, if it is newer than what is known. A first publication
-- that was announced, with nothing lost since, marks its sections loaded: nothing can be taken yet.
--
-- KEYS  1 event, then per section: claims
-- ARGV  1 version, 2 state, 3 opens_at, 4 closes_at, 5 limit ('' = none), 6 lease_ms
--       7 the nonce it was announced under ('' = it was not)
local event = KEYS[1]
local known = tonumber(redis.call('HGET', event, 'version') or '0')
if tonumber(ARGV[1]) <= known then return 0 end
redis.call('HSET', event, 'version', ARGV[1], 'state', ARGV[2], 'opens_at', ARGV[3], 'closes_at', ARGV[4], 'limit', ARGV[5],
  'lease', ARGV[6])
if ARGV[7] ~= '' and redis.call('HGET', event, '@new') == ARGV[7] then
  redis.call('HDEL', event, '@new')
  redis.call('HSETNX', event, 'since', 0)
  for key = 2, #KEYS do redis.call('HSETNX', KEYS[key], '@loaded', 0) end
end
return 1
