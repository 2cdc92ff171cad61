-- Looks at some seats of a section as they stand here, to compare them with what DynamoDB has.
--
-- KEYS  1 … 5 the section's five keys
-- ARGV  1 kind of the section, 2 first number, 3 last number
-- Returns now, whether the section is loaded (1 | 0), then number and state (see `state_of`) of each seat that is not bare
local section = sections_from(1, ARGV[1])[1]
local answer = { tostring(now), tostring(redis.call('HEXISTS', section.claims, '@loaded')) }
for number = tonumber(ARGV[2]), tonumber(ARGV[3]) do
  local state = state_of(section, number)
  if state ~= '000::' then
    answer[#answer + 1] = tostring(number)
    answer[#answer + 1] = state
  end
end
return answer
