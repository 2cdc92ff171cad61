-- Forgets an announcement of which nothing came.
--
-- KEYS  1 moving
-- ARGV  1 uuid, 2 token
return redis.call('ZREM', KEYS[1], announcement(ARGV[1], ARGV[2]))
