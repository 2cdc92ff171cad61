-- Takes the views that came over into a batch that is to be written to the table; one that is there already comes first, for
-- whoever took it may have died.
--
-- KEYS  1 views, 2 those on their way
-- ARGV  1 the name of a new batch
-- Returns the batch and its count, or nothing
if redis.call('EXISTS', KEYS[2]) == 0 then
  local count = tonumber(redis.call('GET', KEYS[1]) or 0)
  if count == 0 then return {} end
  redis.call('HSET', KEYS[2], 'batch', ARGV[1], 'count', count)
  redis.call('DEL', KEYS[1])
end
return redis.call('HMGET', KEYS[2], 'batch', 'count')
