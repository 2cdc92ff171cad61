-- Takes a waiter that gives up out of the line. Was it woken just now, the bell goes on to the next.
--
-- KEYS  per lock: itself, waiters, seen, counter
-- ARGV  1 the waiter, 2 WAITER_MS
for at = 1, #KEYS, 4 do
  forget(at, ARGV[1])
  if redis.call('EXISTS', KEYS[at]) == 0 then wake(at, tonumber(ARGV[2])) end
end
return 1
