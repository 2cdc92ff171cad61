-- Looks at what customers have of an event as it stands here, to compare it with what DynamoDB has. What has no end yet gets
-- one: a truth that was told after Redis had lost a customer's entries began them anew, and knows none.
--
-- KEYS  customers
-- ARGV  1 when what they have ends, in ms
-- Returns now, then for each customer the number of his entries, and of each the uuid and what it says
local answer = { tostring(now) }
for _, customer in ipairs(KEYS) do
  local entries = redis.call('HGETALL', customer)
  if #entries > 0 and redis.call('PTTL', customer) == -1 then redis.call('PEXPIREAT', customer, ARGV[1]) end
  answer[#answer + 1] = tostring(#entries / 2)
  for _, text in ipairs(entries) do answer[#answer + 1] = text end
end
return answer
