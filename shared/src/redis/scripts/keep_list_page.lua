-- Keeps a page of the list of events, unless an event was published since it was begun to be read. All pages go together,
-- some time after the first of them was kept.
--
-- KEYS  1 generation, 2 pages, 3 who fills this page
-- ARGV  1 page, 2 what it says, 3 the generation it was read under, 4 how long pages are kept, in ms, 5 most pages
-- Returns 1, or 0 where it was not kept
redis.call('DEL', KEYS[3])
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[3] then return 0 end
if redis.call('HLEN', KEYS[2]) >= tonumber(ARGV[5]) then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
if redis.call('PTTL', KEYS[2]) < 0 then redis.call('PEXPIRE', KEYS[2], ARGV[4]) end
return 1
