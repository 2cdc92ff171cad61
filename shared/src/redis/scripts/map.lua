-- Reads sections as they are now: one command, no key per seat.
--
-- KEYS  1 event, then per section: claims, taken, blocked
-- Returns now, layout version, then per section: loaded (1 | 0), taken, blocked (bitmaps), live claims ("number,number,…")
local answer = { tostring(now), redis.call('HGET', KEYS[1], 'version') or '0' }
for key = 2, #KEYS, 3 do
  local numbers, entries = {}, redis.call('HGETALL', KEYS[key])
  local loaded = '0'
  for i = 1, #entries, 2 do
    if entries[i] == '@loaded' then
      loaded = '1'
    elseif string.sub(entries[i], 1, 1) ~= '@' and tonumber(string.sub(entries[i + 1], 1, 13)) > now then
      numbers[#numbers + 1] = entries[i]
    end
  end
  answer[#answer + 1] = loaded
  answer[#answer + 1] = redis.call('GET', KEYS[key + 1]) or ''
  answer[#answer + 1] = redis.call('GET', KEYS[key + 2]) or ''
  answer[#answer + 1] = table.concat(numbers, ',')
end
return answer
