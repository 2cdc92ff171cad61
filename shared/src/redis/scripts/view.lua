-- Counts a view, and says how many there were: what the table has of them, what is on its way there, and what came since.
--
-- KEYS  1 views, 2 those on their way, 3 those the table has
-- ARGV  1 how many to count (0 = only look)
-- Returns how many came since the last write-back, how many are on their way, and how many the table has (-1 = not known)
local since = ARGV[1] == '0' and redis.call('GET', KEYS[1]) or redis.call('INCRBY', KEYS[1], ARGV[1])
return { tonumber(since or 0), tonumber(redis.call('HGET', KEYS[2], 'count') or 0), tonumber(redis.call('GET', KEYS[3]) or -1) }
