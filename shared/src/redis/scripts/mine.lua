-- What a customer has of an event right now, each reservation with its kind, c(laimed), h(eld) or s(old), and its seats.
--
-- KEYS  1 customer
-- Returns Redis' time in ms, then uuid, kind, seat ids separated by commas, uuid, …
local answer, entries = { tostring(now) }, redis.call('HGETALL', KEYS[1])
for i = 1, #entries, 2 do
  local ends, kind, ids = string.match(entries[i + 1], '^(%d+):%d+:(%a):(.*)$')
  if ends and (ends == '0' or tonumber(ends) > now) then
    for _, value in ipairs({ entries[i], kind, ids }) do answer[#answer + 1] = value end
  end
end
return answer
