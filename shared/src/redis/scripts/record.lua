-- Reads a record with the clock that judges it, and since when Redis has known the event without a loss (0 = from its
-- first publication). A loss is dated from the first look that notices it.
--
-- KEYS  1 event, 2 record
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSETNX', KEYS[1], 'since', now)
local outcome, message = string.match(redis.call('GET', KEYS[2]) or '', '^%d+\n([^\n]*)\n(.*)$')
return { tostring(now), redis.call('HGET', KEYS[1], 'since'), message or '', outcome or '' }
