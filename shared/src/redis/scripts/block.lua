-- Claims for the organiser whatever is free of some seats, for as long as taking them off sale takes. No sale, no limit.
--
-- KEYS  1 event, then the section's five keys
-- ARGV  1 version, 2 uuid, 3 lease_ms, 4 kind of the section, then numbers
-- Returns 'stale' | 'cold' | 'ok', now, then the positions (from 0) of those that others have
local version = tonumber(redis.call('HGET', KEYS[1], 'version') or '0')
if tonumber(ARGV[1]) < version then return { 'stale' } end
local section, uuid = sections_from(2, ARGV[4])[1], ARGV[2]
if redis.call('HEXISTS', section.claims, '@loaded') == 0 then return { 'cold' } end
local expires, answer = now + tonumber(ARGV[3]), { 'ok', tostring(now) }
for i = 5, #ARGV do
  local owner = owner_of(section, ARGV[i])
  local blocked = redis.call('GETBIT', section.blocked, ARGV[i]) == 1
  if (owner and owner ~= uuid) or (redis.call('GETBIT', section.taken, ARGV[i]) == 1 and not blocked) then
    answer[#answer + 1] = tostring(i - 5)
  elseif not blocked then
    note(section, ARGV[i], expires, uuid)
  end
end
return answer
