-- Takes all keys or none. Asked again with the same token it says yes again: the first answer may have been lost.
-- KEYS the locks   ARGV 1 token, 2 lease_ms
for i = 1, #KEYS do
  local owner = redis.call('GET', KEYS[i])
  if owner and owner ~= ARGV[1] then return 0 end
end
for i = 1, #KEYS do redis.call('SET', KEYS[i], ARGV[1], 'PX', ARGV[2]) end
return 1
