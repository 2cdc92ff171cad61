-- Deletes what this token still owns, and wakes one waiter of each. Asked again it says the same: the first answer may have
-- been lost.
--
-- KEYS  per lock: itself, waiters, seen, counter
-- ARGV  1 token, 2 WAITER_MS
-- Returns 1 = all of it was owned, 0 = some had run out, -1 = some belongs to another by now
local answer = 1
for at = 1, #KEYS, 4 do
  local owner = redis.call('GET', KEYS[at])
  local taken, last = counter(at)
  local is_ours = owner == ARGV[1]
  if is_ours then redis.call('DEL', KEYS[at]) end
  -- Also what was never given: the request for it may still be on its way.
  if is_ours then count(at, taken, ARGV[1]) elseif not owner and last ~= ARGV[1] then count(at, taken, '-' .. ARGV[1]) end
  if is_ours then
    wake(at, tonumber(ARGV[2]))
  elseif last ~= ARGV[1] then
    if owner then answer = -1 elseif answer == 1 then answer = 0 end
  end
end
return answer
