-- Lets keys last longer.
--
-- KEYS  any
-- ARGV  1 how long, in ms
-- Returns the positions (from 0) of those that are not there
local missing = {}
for i, key in ipairs(KEYS) do
  if redis.call('PEXPIRE', key, ARGV[1]) == 0 then missing[#missing + 1] = i - 1 end
end
return missing
