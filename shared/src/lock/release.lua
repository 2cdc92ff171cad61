-- Deletes what this token still owns. 1 = all of it, 0 = some had run out, -1 = some belongs to another by now.
-- KEYS the locks   ARGV 1 token
local answer = 1
for i = 1, #KEYS do
  local owner = redis.call('GET', KEYS[i])
  if owner == ARGV[1] then
    redis.call('DEL', KEYS[i])
  elseif owner then
    answer = -1
  elseif answer == 1 then
    answer = 0
  end
end
return answer
