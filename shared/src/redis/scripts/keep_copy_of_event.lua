-- Keeps a copy of what is published of an event, by who was told to fill it, if that is still so, and no later publication is
-- known. Or only lets another one fill it.
--
-- KEYS  1 event, 2 copy, 3 who fills it
-- ARGV  1 the filler's nonce, 2 version (0 = there is no such event; '' = nothing was read), 3 what is published, 4 how long
--       the copy lasts, in ms
-- Returns 1, or 0 where it was not kept
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[3])
local version = tonumber(ARGV[2])
if not version or version < tonumber(redis.call('HGET', KEYS[1], 'version') or '0') then return 0 end
redis.call('HSET', KEYS[2], 'version', version, 'published', ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return 1
