-- Writes what DynamoDB has decided into Redis: the outcome into the record, and the state of each seat as it is stored.
-- Somebody else's live claim yields only to a stored live hold or sale; a compare that fails marks the section dirty.
--
-- KEYS  1 record, 2 customer, 3 dirty, then per section: claims, taken
-- ARGV  1 uuid, 2 outcome ('' = leave the record), 3 the customer's entry ('' = none)
--       4.. per seat: index of its section (from 0), section id, number, state (held | sold | free), owner, expiry in ms
local record, customer, dirty = KEYS[1], KEYS[2], KEYS[3]
local uuid = ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Frees a seat. While a load is under way the owner who lost it is noted, under an expiry of 0: the loader may have read
-- him as the owner before this truth was so.
local function free(claims, number, owner)
  if redis.call('HEXISTS', claims, '@load') == 1 then
    redis.call('HSET', claims, number, '0000000000000:' .. owner)
  else
    redis.call('HDEL', claims, number)
  end
end

for i = 4, #ARGV, 6 do
  local section, number, state, owner = tonumber(ARGV[i]), ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  local expiry = tonumber(ARGV[i + 5])
  local claims, taken = KEYS[4 + 2 * section], KEYS[5 + 2 * section]
  -- A section that is neither loaded nor loading learns this when it is loaded: DynamoDB had it before we came here.
  if redis.call('HEXISTS', claims, '@loaded') == 1 or redis.call('HEXISTS', claims, '@load') == 1 then
    local claim = redis.call('HGET', claims, number)
    local live, claimant = false, nil
    if claim then
      live = tonumber(string.sub(claim, 1, 13)) > now
      claimant = string.sub(claim, 15)
    end
    local foreign = live and claimant ~= uuid and claimant ~= owner
    if state == 'sold' then
      redis.call('SETBIT', taken, number, 1)
      if foreign then redis.call('SADD', dirty, ARGV[i + 1]) else free(claims, number, owner) end
    elseif state == 'held' and expiry > now then
      if foreign and owner ~= uuid then
        redis.call('SADD', dirty, ARGV[i + 1])
      else
        redis.call('HSET', claims, number, string.format('%013d', expiry) .. ':' .. owner)
      end
    elseif not foreign then
      -- Free, or a hold that has run out: only this reservation's own claim, or the ended hold's, goes.
      free(claims, number, owner)
    end
  end
end

if ARGV[3] == '' then redis.call('HDEL', customer, uuid) else redis.call('HSET', customer, uuid, ARGV[3]) end
if ARGV[2] ~= '' then
  local attempts, message = string.match(redis.call('GET', record) or '', '^(%d+)\n[^\n]*\n(.*)$')
  if message then redis.call('SET', record, attempts .. '\n' .. ARGV[2] .. '\n' .. message, 'KEEPTTL') end
  -- The bell, for whoever waits. That it may not be rung is no failure: waiters look by themselves, too.
  redis.pcall('PUBLISH', record, '')
end
return 1
