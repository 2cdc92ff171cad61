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
for i = 3, #ARGV, 4 do
  local number, state, owner = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local known = redis.call('HGET', claims, number)
  -- What a correction wrote meanwhile stays; that somebody has the seat no longer says nothing about another holder.
  local news = not known
    or (state == 'held' and string.sub(known, 1, 13) == '0000000000000' and string.sub(known, 15) ~= owner)
  if news then
    if state == 'held' then
      redis.call('HSET', claims, number, string.format('%013d', tonumber(ARGV[i + 3])) .. ':' .. owner)
    else
      redis.call('SETBIT', KEYS[2], number, 1)
      if state == 'blocked' then redis.call('SETBIT', KEYS[3], number, 1) end
    end
  end
end
return 'ok'
