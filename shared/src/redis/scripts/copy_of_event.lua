-- Reads the copy of what is published of an event, if it is good: not older than the publication known here. Of those who find
-- none, or one that will end soon, one is told to fill it; who finds none besides is told to wait.
--
-- KEYS  1 event, 2 copy, 3 who fills it
-- ARGV  1 the nonce of a filler, 2 how long he has, in ms, 3 how long before its end a copy is renewed, in ms
-- Returns 'kept', what is published ('' = there is no such event) and how long the copy lasts, in ms; 'fill'; or 'wait'
local known = tonumber(redis.call('HGET', KEYS[1], 'version') or '0')
local copy, left = redis.call('HMGET', KEYS[2], 'version', 'published'), redis.call('PTTL', KEYS[2])
local is_good = copy[1] and tonumber(copy[1]) >= known
local will_last = is_good and (copy[2] == '' or left >= tonumber(ARGV[3]))
if not will_last and redis.call('SET', KEYS[3], ARGV[1], 'NX', 'PX', ARGV[2]) then return { 'fill' } end
if is_good then return { 'kept', copy[2], tostring(left) } end
return { 'wait' }
