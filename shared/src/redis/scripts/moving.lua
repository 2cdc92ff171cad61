-- What somebody should have told and has not: changes that were announced and, so long after, not told, because whoever
-- made them has died or could not know their order; and how long the oldest claim has been waiting to be decided.
--
-- KEYS  1 moving, 2 undecided, 3 event
-- ARGV  1 how long ago, in ms, 2 most of them
-- Returns how long the oldest claim waits, in ms (0 = none does), then "<uuid>:<token>", …
local lease = tonumber(redis.call('HGET', KEYS[3], 'lease') or '0')
forget_ended(KEYS[2], lease)
local oldest = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. (now - lease), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
local announced = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[1]), 'LIMIT', 0, ARGV[2])
return { tostring(oldest and now - tonumber(oldest) or 0), unpack(announced) }
