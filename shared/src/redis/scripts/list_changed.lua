-- An event was published: no page of the list is what it was, and none that is being read by now is kept.
--
-- KEYS  1 generation, 2 pages
-- ARGV  1 the new generation
redis.call('SET', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2])
return 1
