-- Notes that an event is about to be published for the first time. A loss of Redis in between takes the note along, and
-- then nobody believes that nothing can have been taken yet.
--
-- KEYS  1 event
-- ARGV  1 nonce of the publisher
if redis.call('HEXISTS', KEYS[1], 'version') == 1 then return 0 end
redis.call('HSET', KEYS[1], '@new', ARGV[1])
return 1
