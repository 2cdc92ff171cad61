-- Prolongs the lease of all locks or none. What has run out is not taken again: somebody may have worked meanwhile.
--
-- KEYS  per lock: itself, waiters, seen, counter
-- ARGV  1 token, 2 lease_ms
-- Returns 1 = prolonged, 0 = some had run out, -1 = some belongs to another by now
local answer = 1
for at = 1, #KEYS, 4 do
  local owner = redis.call('GET', KEYS[at])
  if owner and owner ~= ARGV[1] then return -1 end
  if not owner then answer = 0 end
end
if answer == 0 then return 0 end
for at = 1, #KEYS, 4 do redis.call('PEXPIRE', KEYS[at], ARGV[2]) end
return 1
