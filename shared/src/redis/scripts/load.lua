-- Loads a cold section from what DynamoDB holds, chunk by chunk under a nonce. It only adds and never clears, and what a
-- correction wrote meanwhile stays. A flush half way removes the nonce, and every later step says so.
--
-- KEYS  1 … 5 the section's five keys
-- ARGV  1 step (begin | add | end), 2 nonce, 3 kind of the section
--       add: 4.. per taken seat: number, state (held | sold | blocked), owner, expiry in ms
-- Returns 'ok', 'loaded' (nothing to do) or 'lost' (start over)
local section, step, nonce = sections_from(1, ARGV[3])[1], ARGV[1], ARGV[2]
local claims = section.claims
if redis.call('HEXISTS', claims, '@loaded') == 1 then return 'loaded' end
if step == 'begin' then
  redis.call('HSET', claims, '@load', nonce)
  return 'ok'
end
if redis.call('HGET', claims, '@load') ~= nonce then return 'lost' end
if step == 'end' then
  redis.call('HDEL', claims, '@load')
  redis.call('HSET', claims, '@loaded', time[1])
  return 'ok'
end
for i = 4, #ARGV, 4 do
  local number, state, owner = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local expiry, noted_owner = noted(section, number)
  -- What a correction wrote meanwhile stays: a live owner, or the note that this very one has lost the seat. What is past,
  -- and may be left from a load that was given up, says nothing about who has the seat now.
  local given_up = expiry == 0 and noted_owner == owner
  if state == 'held' then
    if not given_up and (not expiry or expiry <= now) then note(section, number, tonumber(ARGV[i + 3]), owner) end
  elseif not given_up then
    mark(section, number, 1, state == 'blocked' and 1 or 0)
  end
end
return 'ok'
