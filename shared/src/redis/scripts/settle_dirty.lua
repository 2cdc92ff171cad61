-- Settles a section that was in doubt, or leaves it in doubt for the next time.
--
-- KEYS  1 dirty, 2 dirty, at work
-- ARGV  1 label, 2 whether it is settled (1 | 0)
if ARGV[2] == '0' then redis.call('SADD', KEYS[1], ARGV[1]) end
return redis.call('SREM', KEYS[2], ARGV[1])
