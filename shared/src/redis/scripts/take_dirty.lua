-- Takes over the sections whose state is in doubt. They stay named until each is settled, so that whoever dies over them
-- leaves them to the next one; what is marked meanwhile is marked anew.
--
-- KEYS  1 dirty, 2 dirty, at work
-- Returns their labels
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('SUNIONSTORE', KEYS[2], KEYS[1], KEYS[2])
  redis.call('DEL', KEYS[1])
end
return redis.call('SMEMBERS', KEYS[2])
