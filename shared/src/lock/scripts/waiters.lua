-- What the lock's scripts share: their clock, who waits, and the counter. A lock is four keys: itself (the holder's token),
-- its waiters in the order in which they came, when each of them was last seen, and its counter: "<how often it was taken>
-- <the token that gave it back last>", with a dash before a token that had nothing to give back.
-- A waiter is "<channel of its process> <token>"; one that has not been seen for WAITER_MS is dead and is passed over.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- How often it was taken, and who gave it back last.
local function counter(at)
  local count, last = string.match(redis.call('GET', KEYS[at + 3]) or '0', '^(%d+) ?(%S*)$')
  return tonumber(count), last
end

local function count(at, taken, last)
  redis.call('SET', KEYS[at + 3], string.format('%d %s', taken, last))
end

-- The first waiter that lives, or nil.
local function first_waiter(waiters, seen, waiter_ms)
  while true do
    local first = redis.call('ZRANGE', waiters, 0, 0)[1]
    if not first then return nil end
    local last = redis.call('ZSCORE', seen, first)
    if last and now - tonumber(last) <= waiter_ms then return first end
    redis.call('ZREM', waiters, first)
    redis.call('ZREM', seen, first)
  end
end

local function forget(at, waiter)
  redis.call('ZREM', KEYS[at + 1], waiter)
  redis.call('ZREM', KEYS[at + 2], waiter)
end

-- Wakes one waiter of a free lock. That the bell may not be rung is no failure: waiters look by themselves, too.
local function wake(at, waiter_ms)
  local waiter = first_waiter(KEYS[at + 1], KEYS[at + 2], waiter_ms)
  if not waiter then return end
  local channel, token = string.match(waiter, '^(%S+) (%S+)$')
  redis.pcall('PUBLISH', channel, token)
end
