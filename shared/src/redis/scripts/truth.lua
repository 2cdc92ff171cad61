-- Writes what DynamoDB has decided into Redis: what is told of the reservation into its record, and the state of each seat
-- as it is stored. Somebody else's live claim yields only to a stored live hold or sale; a compare that fails marks the
-- section dirty. A truth that another one of the same reservation has overtaken is known by its rank and changes nothing.
--
-- KEYS  1 record, 2 customer, 3 dirty, 4 moving, 5 undecided, then per section: its five keys
-- ARGV  1 uuid, 2 what is told, as JSON, 3 its rank, 4 end of the hold, in ms, 5 the customer's entry ('' = none)
--       6 the token of the look that announced this change ('' = none), 7 who tells: its maker just now, a healer who has
--       read the seats anew, or a replay of what may be long past
--       8 kinds of the sections, then per seat: index of its section (from 1), its label, number,
--         state (held | sold | blocked | free | freed), owner, expiry in ms
-- Returns 1, or 0 where it was overtaken.
local record, customer, dirty, moving, undecided = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local uuid, rank, ends_at, token = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[6]
local sections = sections_from(6, ARGV[8])

local attempts, told, message = read_record(record)
local rank_before, prolonged_before = read_told(told)
redis.call('ZREM', undecided, uuid)
-- Without a record nobody can tell whether a later change came first, so the announcement stays and the row is read again.
local settled = message or ARGV[7] == 'healer'
if token ~= '' and settled then redis.call('ZREM', moving, announcement(uuid, token)) end
if rank_before > rank or (rank_before == rank and prolonged_before > ends_at) then return 0 end
-- A replay may be of long ago, and the seat somebody else's by now: it gives up no mark, and without a record to order it
-- by it takes none back.
local is_blind = not message and ARGV[7] == 'replay'
local is_news = rank > rank_before and ARGV[7] ~= 'replay'

-- Frees a seat. While a load is under way the owner who lost it is noted, under an expiry of 0: the loader may have read
-- him as the owner before this truth was so.
local function free(section, number, owner)
  forget(section, number)
  if redis.call('HEXISTS', section.claims, '@load') == 1 then
    redis.call('HSET', section.claims, number, '0000000000000:' .. owner)
    -- The first draw after the load clears the note away.
    if section.general then redis.call('ZADD', section.ends, 0, number) end
  end
end

for i = 9, #ARGV, 6 do
  local section, number, state, owner = sections[tonumber(ARGV[i])], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  local expiry = tonumber(ARGV[i + 5])
  -- A section that is neither loaded nor loading learns this when it is loaded: DynamoDB had it before we came here.
  if redis.call('HEXISTS', section.claims, '@loaded') == 1 or redis.call('HEXISTS', section.claims, '@load') == 1 then
    local claimant = owner_of(section, number)
    local foreign = claimant and claimant ~= uuid and claimant ~= owner
    if state == 'sold' or state == 'blocked' then
      mark(section, number, 1, state == 'blocked' and 1 or 0)
      if foreign then redis.call('SADD', dirty, ARGV[i + 1]) else free(section, number, owner) end
    elseif state == 'held' and expiry > now then
      local sold = redis.call('GETBIT', section.taken, number) == 1
      if (owner ~= uuid and foreign) or (sold and (owner ~= uuid or is_blind)) then
        redis.call('SADD', dirty, ARGV[i + 1])
      else
        note(section, number, expiry, owner)
        -- Stored as held, it is sold to nobody.
        if sold then mark(section, number, 0, 0) end
      end
    else
      -- Only this reservation's own claim, or the ended hold's, goes; and the mark of a seat that it had for good.
      if not foreign then free(section, number, owner) end
      if state == 'freed' and is_news then mark(section, number, 0, 0) end
    end
  end
end

if ARGV[5] == '' then redis.call('HDEL', customer, uuid) else redis.call('HSET', customer, uuid, ARGV[5]) end
if message then redis.call('SET', record, attempts .. '\n' .. ARGV[2] .. '\n' .. message, 'KEEPTTL') end
-- The bell, for whoever waits. That it may not be rung is no failure: waiters look by themselves, too.
redis.pcall('PUBLISH', record, '')
return 1
