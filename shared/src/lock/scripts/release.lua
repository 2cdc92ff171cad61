-- Deletes what this token still owns, and wakes one waiter of each.
--
-- KEYS  per lock: itself, waiters, seen, fence
-- ARGV  1 token, 2 WAITER_MS
-- Returns 1 = all of it was owned, 0 = some had run out, -1 = some belongs to another by now
local answer = 1
for at = 1, #KEYS, 4 do
  local owner = redis.call('GET', KEYS[at])
  if owner == ARGV[1] then
    redis.call('DEL', KEYS[at])
    wake(at, tonumber(ARGV[2]))
  elseif owner then
    answer = -1
  elseif answer == 1 then
    answer = 0
  end
end
return answer
