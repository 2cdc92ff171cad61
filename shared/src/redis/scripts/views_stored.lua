-- Notes what the table has, as read with the batch that was added last; that batch is on its way no more. What is known is
-- only replaced by who has just added a batch: anybody else may have read the table long ago.
--
-- KEYS  1 those on their way, 2 those the table has
-- ARGV  1 how many the table has, 2 the batch added last ('' = none), 3 whether the caller has just added it (1 | 0)
if ARGV[2] ~= '' and redis.call('HGET', KEYS[1], 'batch') == ARGV[2] then
  redis.call('DEL', KEYS[1])
  redis.call('SET', KEYS[2], ARGV[1])
elseif ARGV[3] == '0' then
  redis.call('SET', KEYS[2], ARGV[1], 'NX')
end
return 1
