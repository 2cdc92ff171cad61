-- Takes all locks or none. Asked again with the same token it says yes again: the first answer may have been lost. A token
-- that gave a lock back does not get it again: it is a request that arrives late, and nobody waits for its answer.
--
-- KEYS  per lock: itself, waiters, seen, counter
-- ARGV  1 token, 2 lease_ms, 3 the waiter that is noted where a lock is taken ('' = nobody waits), 4 WAITER_MS
--       5 whether who waits longer comes first (1 | 0)
-- Returns 1 and how often the first lock was taken, or 0 and how long the lock in the way may still be held, in ms.
local token, lease, waiter, waiter_ms = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local owners, taken, last = {}, {}, {}
for at = 1, #KEYS, 4 do
  local owner = redis.call('GET', KEYS[at])
  local first = ARGV[5] == '1' and not owner and first_waiter(KEYS[at + 1], KEYS[at + 2], waiter_ms)
  if (owner and owner ~= token) or (first and first ~= waiter) then
    if waiter ~= '' then
      -- To the microsecond: of one millisecond's waiters a name chosen at random would decide.
      redis.call('ZADD', KEYS[at + 1], 'NX', string.format('%.3f', now + time[2] % 1000 / 1000), waiter)
      redis.call('ZADD', KEYS[at + 2], now, waiter)
      for _, key in ipairs({ KEYS[at + 1], KEYS[at + 2] }) do redis.call('PEXPIRE', key, 10 * waiter_ms) end
    end
    return { 0, owner and redis.call('PTTL', KEYS[at]) or waiter_ms }
  end
  owners[at] = owner
  taken[at], last[at] = counter(at)
  if last[at] == token or last[at] == '-' .. token then return { 0, 0 } end
end
for at = 1, #KEYS, 4 do
  redis.call('SET', KEYS[at], token, 'PX', lease)
  if not owners[at] then
    taken[at] = taken[at] + 1
    count(at, taken[at], last[at])
  end
  if waiter ~= '' then forget(at, waiter) end
end
return { 1, taken[1] }
