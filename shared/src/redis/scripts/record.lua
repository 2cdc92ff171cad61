-- Reads a record with the clock that judges it, and since when Redis has known the event without a loss (0 = from its
-- first publication). A loss is dated from the first look that notices it.
--
-- KEYS  1 event, 2 record
redis.call('HSETNX', KEYS[1], 'since', now)
local _, told, message = read_record(KEYS[2])
return { tostring(now), redis.call('HGET', KEYS[1], 'since'), message or '', told or '' }
