-- Changes that were announced and, so long after, not told: whoever made them has died, or could not know their order.
--
-- KEYS  1 moving
-- ARGV  1 how long ago, in ms, 2 most of them
-- Returns "<uuid>:<token>", …
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[1]), 'LIMIT', 0, ARGV[2])
