-- Forgets an announcement of which nothing came, unless a later one has replaced it.
--
-- KEYS  1 moving
-- ARGV  1 uuid, 2 token
if redis.call('ZSCORE', KEYS[1], ARGV[1]) == ARGV[2] then return redis.call('ZREM', KEYS[1], ARGV[1]) end
return 0
