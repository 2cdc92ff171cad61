-- Reads a page of the list of events as it was kept. Of those who miss it one is told to fill it, and the others to wait.
--
-- KEYS  1 generation, 2 pages, 3 who fills this page
-- ARGV  1 page, 2 how long the filler has, in ms
-- Returns 'kept' and the page, 'fill' and the generation, or 'wait'
local kept = redis.call('HGET', KEYS[2], ARGV[1])
if kept then return { 'kept', kept } end
if redis.call('SET', KEYS[3], '1', 'NX', 'PX', ARGV[2]) then
  return { 'fill', redis.call('GET', KEYS[1]) or '' }
end
return { 'wait' }
