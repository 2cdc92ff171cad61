-- The claim: checks the sale, the limit and every seat, and takes all of them or none. One round trip says yes or no.
-- Structures: see keys.rs. A claim is "<expiry, 13 digits of ms>:<reservation uuid>", a record three lines of text.
--
-- KEYS  1 event, 2 record, 3 customer, then per section of the request: claims, taken
-- ARGV  1 version, 2 state, 3 opens_at, 4 closes_at, 5 limit ('' = none)   the caller's view of the event
--       6 uuid, 7 fingerprint, 8 lease_ms, 9 the message without its times and closing brace
--       10 record_seconds, 11 most attempts, 12 most claims a minute
--       13 whether the caller has just read the event strongly (1 | 0)
--       14.. per seat: index of its section (from 0), number
local event, record, customer = KEYS[1], KEYS[2], KEYS[3]
local uuid, fingerprint = ARGV[6], ARGV[7]
local FIRST_SECTION_KEY, FIRST_SEAT = 4, 14

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function claims_key(section) return KEYS[FIRST_SECTION_KEY + 2 * section] end
local function taken_key(section) return KEYS[FIRST_SECTION_KEY + 2 * section + 1] end

-- The live claim on a seat: its owner, or nil.
local function owner_of(section, number)
  local claim = redis.call('HGET', claims_key(section), number)
  if claim and tonumber(string.sub(claim, 1, 13)) > now then return string.sub(claim, 15) end
  return nil
end

-- A known attempt: never a second claim, never a longer lease.
local known = redis.call('GET', record)
if known then
  local attempts, outcome, message = string.match(known, '^(%d+)\n([^\n]*)\n(.*)$')
  if cjson.decode(message).fingerprint ~= fingerprint then return { 'reused', tostring(now) } end
  if outcome ~= '' then return { 'decided', message, outcome, tostring(now) } end
  attempts = tonumber(attempts) + 1
  if attempts > tonumber(ARGV[11]) then return { 'too-many-attempts' } end
  redis.call('SET', record, attempts .. '\n\n' .. message, 'KEEPTTL')
  for i = FIRST_SEAT, #ARGV, 2 do
    if owner_of(tonumber(ARGV[i]), ARGV[i + 1]) ~= uuid then return { 'ended', message, tostring(now) } end
  end
  return { 'granted', message, tostring(attempts), tostring(now) }
end

-- The greater version wins; a caller with an older one must read again, and so must one with any when all is lost here.
local version = tonumber(redis.call('HGET', event, 'version') or '0')
if tonumber(ARGV[1]) < version or (version == 0 and ARGV[13] ~= '1') then return { 'stale' } end
if tonumber(ARGV[1]) > version then
  redis.call('HSET', event, 'version', ARGV[1], 'state', ARGV[2], 'opens_at', ARGV[3], 'closes_at', ARGV[4], 'limit', ARGV[5])
  redis.call('HSETNX', event, 'since', now)
end

local cold = { 'cold' }
for section = 0, (#KEYS - FIRST_SECTION_KEY - 1) / 2 do
  if redis.call('HEXISTS', claims_key(section), '@loaded') == 0 then cold[#cold + 1] = tostring(section) end
end
if #cold > 1 then return cold end

local taken, mine = {}, {}
for i = FIRST_SEAT, #ARGV, 2 do
  local section, number = tonumber(ARGV[i]), ARGV[i + 1]
  local seat = tostring((i - FIRST_SEAT) / 2)
  local owner = owner_of(section, number)
  -- Whatever the sale says by now: this id has a row, and the row answers.
  if owner == uuid then return { 'own', tostring(now) } end
  if redis.call('GETBIT', taken_key(section), number) == 1 then
    taken[#taken + 1] = seat
  elseif owner then
    taken[#taken + 1] = seat
    if redis.call('HEXISTS', customer, owner) == 1 then mine[#mine + 1] = seat end
  end
end

local sale = redis.call('HMGET', event, 'state', 'opens_at', 'closes_at', 'limit')
if sale[1] == 'ended' or now >= tonumber(sale[3]) then return { 'sale-closed' } end
if sale[1] == 'paused' then return { 'sale-paused' } end
if now < tonumber(sale[2]) then return { 'sale-not-open', sale[2] } end
if #taken > 0 then return { 'taken', table.concat(taken, ','), table.concat(mine, ',') } end

-- What the customer holds already; what has run out no longer counts. "<expiry, 0 = for good>:<seats>"
local seats = (#ARGV - FIRST_SEAT + 1) / 2
local live, minute, this_minute = seats, tostring(math.floor(now / 60000)), 0
local entries = redis.call('HGETALL', customer)
for i = 1, #entries, 2 do
  local left, right = string.match(entries[i + 1], '^(%d+):(%d+)$')
  if entries[i] == '@rate' then
    if left == minute then this_minute = tonumber(right) end
  elseif left == '0' or tonumber(left) > now then
    live = live + tonumber(right)
  else
    redis.call('HDEL', customer, entries[i])
  end
end
if sale[4] ~= '' and live > tonumber(sale[4]) then return { 'limit-reached', sale[4] } end
if this_minute >= tonumber(ARGV[12]) then return { 'too-many-claims' } end

local expires = now + tonumber(ARGV[8])
local claim = string.format('%013d', expires) .. ':' .. uuid
for i = FIRST_SEAT, #ARGV, 2 do
  redis.call('HSET', claims_key(tonumber(ARGV[i])), ARGV[i + 1], claim)
end
redis.call('HSET', customer, uuid, string.format('%d:%d', expires, seats), '@rate', minute .. ':' .. (this_minute + 1))
local message = ARGV[9] .. string.format(',"held_at_ms":%d,"expires_at_ms":%d}', now, expires)
redis.call('SET', record, '1\n\n' .. message, 'EX', ARGV[10])
return { 'granted', message, '1', tostring(now) }
