-- Loads a cold section from what DynamoDB holds, chunk by chunk under a nonce. It only adds and never clears, and what a
-- correction wrote meanwhile stays. A flush half way removes the nonce, and every later step says so.
--
-- KEYS  1 claims, 2 taken, 3 blocked
-- ARGV  1 step (begin | add | end), 2 nonce
--       add: 3.. per taken seat: number, state (held | sold | blocked), owner, expiry in ms
-- Returns 'ok', 'loaded' (nothing to do) or 'lost' (start over)
local claims, step, nonce = KEYS[1], ARGV[1], ARGV[2]
if redis.call('HEXISTS', claims, '@loaded') == 1 then return 'loaded' end
if step == 'begin' then
  redis.call('HSET', claims, '@load', nonce)
  return 'ok'
end
if redis.call('HGET', claims, '@load') ~= nonce then return 'lost' end
if step == 'end' then
  redis.call('HDEL', claims, '@load')
  redis.call('HSET', claims, '@loaded', redis.call('TIME')[1])
  return 'ok'
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 3, #ARGV, 4 do
  local number, state, owner = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local known = redis.call('HGET', claims, number)
  local given_up = known and string.sub(known, 1, 13) == '0000000000000'
  if state == 'held' then
    -- What a correction wrote meanwhile stays: a live owner, or the note that this very one has lost the seat. What is
    -- past, and may be left from a load that was given up, says nothing about who holds the seat now.
    local past = known and tonumber(string.sub(known, 1, 13)) <= now
    if not known or (past and not (given_up and string.sub(known, 15) == owner)) then
      redis.call('HSET', claims, number, string.format('%013d', tonumber(ARGV[i + 3])) .. ':' .. owner)
    end
  elseif not given_up then
    redis.call('SETBIT', KEYS[2], number, 1)
    if state == 'blocked' then redis.call('SETBIT', KEYS[3], number, 1) end
  end
end
return 'ok'
