-- The claim: checks the sale, the limit and every seat, and takes all of them or none. One round trip says yes or no.
-- Structures: see keys.rs.
--
-- KEYS  1 event, 2 record, 3 customer, 4 undecided, then per section of the request: its five keys
-- ARGV  1 version, 2 state, 3 opens_at, 4 closes_at, 5 limit ('' = none)   the caller's view of the event
--       6 lease_ms, of it too, 7 uuid, 8 fingerprint, 9 the message without seats, times and closing brace
--       10 record_seconds, 11 most attempts, 12 most claims a minute
--       13 whether the caller has just read the event strongly (1 | 0)
--       14 the lag gate's claims (0 = this claim's message goes to nobody who might be late), 15 its age, in ms
--       16 kinds of the sections, 17 their labels, separated by commas
--       18 how to choose:
--         seats | best   19 number of options, then per option: its seats as JSON, their number, and per seat: index of
--                        its section (from 1), number. `seats` has one option; of `best` the first that is free is taken
--         places         19 quantity, 20 a random number, 21 most expired claims looked at,
--                        then runs of numbers: first, length, serial of the first
local event, record, customer, undecided = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local uuid, fingerprint = ARGV[7], ARGV[8]
local sections, index_of = sections_from(5, ARGV[16]), {}
for label in string.gmatch(ARGV[17], '[^,]+') do
  index_of[#index_of + 1] = label
  index_of[label] = #index_of
end

-- A known attempt: never a second claim, never a longer lease.
local attempts, told, known = read_record(record)
if known then
  local request = cjson.decode(known)
  if request.fingerprint ~= fingerprint then return { 'reused', tostring(now) } end
  if told ~= '' then return { 'decided', known, told, tostring(now) } end
  attempts = tonumber(attempts) + 1
  if attempts > tonumber(ARGV[11]) then return { 'too-many-attempts' } end
  redis.call('SET', record, attempts .. '\n\n' .. known, 'KEEPTTL')
  for _, seat in ipairs(request.seats) do
    local section = sections[index_of[label_of(seat.id)]]
    if not section or owner_of(section, seat.number) ~= uuid then return { 'ended', known, tostring(now) } end
  end
  return { 'granted', known, tostring(attempts), tostring(now) }
end

-- The greater version wins; a caller with an older one must read again, and so must one with any when all is lost here.
local version = tonumber(redis.call('HGET', event, 'version') or '0')
if tonumber(ARGV[1]) < version or (version == 0 and ARGV[13] ~= '1') then return { 'stale' } end
if tonumber(ARGV[1]) > version then
  redis.call('HSET', event, 'version', ARGV[1], 'state', ARGV[2], 'opens_at', ARGV[3], 'closes_at', ARGV[4], 'limit', ARGV[5],
    'lease', ARGV[6])
  redis.call('HSETNX', event, 'since', now)
end

local cold = { 'cold' }
for n, section in ipairs(sections) do
  if redis.call('HEXISTS', section.claims, '@loaded') == 0 then cold[#cold + 1] = index_of[n] end
end
if #cold > 1 then return cold end

-- What the customer has: "<expiry, 0 = for good>:<number of seats>:<c(laimed) | h(eld) | s(old)>:<their ids>".
local live, mine, minute, this_minute = 0, {}, tostring(math.floor(now / 60000)), 0
local entries = redis.call('HGETALL', customer)
for i = 1, #entries, 2 do
  local left, right, ids = string.match(entries[i + 1], '^(%d+):(%d+):?%a?:?(.*)$')
  if entries[i] == '@rate' then
    if left == minute then this_minute = tonumber(right) end
  elseif left and (left == '0' or tonumber(left) > now) then
    -- Whatever the sale says by now: this id has a row, and the row answers.
    if entries[i] == uuid then return { 'own', tostring(now) } end
    live = live + tonumber(right)
    for id in string.gmatch(ids, '[^,]+') do mine[id] = true end
  end
end

-- Ways to choose. Each answers the chosen seats ({ section, number } …) and their JSON, or nil and the refusal.
local function first_free_option()
  local refused, at = nil, 20
  for _ = 1, tonumber(ARGV[19]) do
    local json, count, seats, taken = ARGV[at], tonumber(ARGV[at + 1]), {}, {}
    for seat = 1, count do
      local section, number = sections[tonumber(ARGV[at + 2 * seat])], ARGV[at + 2 * seat + 1]
      local owner = owner_of(section, number)
      if owner == uuid then return nil, { 'own', tostring(now) } end
      if owner or redis.call('GETBIT', section.taken, number) == 1 then taken[#taken + 1] = seat end
      seats[seat] = { section, number }
    end
    if #taken == 0 then return seats, json end
    refused = refused or { taken, json }
    at = at + 2 + 2 * count
  end
  if ARGV[18] == 'best' then return nil, { 'contended' } end
  local positions, held_by_you, named = {}, {}, cjson.decode(refused[2])
  for _, seat in ipairs(refused[1]) do
    positions[#positions + 1] = tostring(seat - 1)
    if mine[named[seat].id] then held_by_you[#held_by_you + 1] = tostring(seat - 1) end
  end
  return nil, { 'taken', table.concat(positions, ','), table.concat(held_by_you, ',') }
end

local function free_places()
  local section, quantity, label = sections[1], tonumber(ARGV[19]), index_of[1]
  -- What has run out is free at once; it is looked at here, and each claim once.
  for _, number in ipairs(redis.call('ZRANGEBYSCORE', section.ends, '-inf', now, 'LIMIT', 0, ARGV[21])) do
    forget(section, number)
  end
  local seats, json, sellable, free = {}, {}, 0, 0
  -- Soon after a load, messages of the time before it are still in Kafka, and they name the first places.
  local loaded = tonumber(redis.call('HGET', section.claims, '@loaded'))
  local scattered = loaded > 0 and now - loaded * 1000 <= tonumber(ARGV[15])
  for run = 22, #ARGV, 3 do
    local first, length, serial = tonumber(ARGV[run]), tonumber(ARGV[run + 1]), tonumber(ARGV[run + 2])
    local last = first + length - 1
    -- BITPOS sees no zeros behind the end of its string.
    if redis.call('STRLEN', section.used) * 8 <= last then redis.call('SETBIT', section.used, last, 0) end
    local from = scattered and first + tonumber(ARGV[20]) % length or first
    for _, span in ipairs({ { from, last }, { first, from - 1 } }) do
      local at = span[1]
      while #seats < quantity and at <= span[2] do
        at = redis.call('BITPOS', section.used, 0, at, span[2], 'BIT')
        if at < 0 then break end
        seats[#seats + 1] = { section, at }
        json[#json + 1] = string.format('{"id":"%s-%d","number":%d}', label, serial + at - first, at)
        at = at + 1
      end
    end
    if #seats == quantity then return seats, '[' .. table.concat(json, ',') .. ']' end
    sellable = sellable + length - redis.call('BITCOUNT', section.taken, first, last, 'BIT')
    free = free + length - redis.call('BITCOUNT', section.used, first, last, 'BIT')
  end
  if sellable < quantity then return nil, { 'sold-out', tostring(sellable) } end
  return nil, { 'contended', tostring(free) }
end

local seats, json
if ARGV[18] == 'places' then seats, json = free_places() else seats, json = first_free_option() end
if not seats and json[1] == 'own' then return json end

local sale = redis.call('HMGET', event, 'state', 'opens_at', 'closes_at', 'limit')
if sale[1] == 'ended' or now >= tonumber(sale[3]) then return { 'sale-closed' } end
if sale[1] == 'paused' then return { 'sale-paused' } end
if now < tonumber(sale[2]) then return { 'sale-not-open', sale[2] } end
if not seats then return json end
if sale[4] ~= '' and live + #seats > tonumber(sale[4]) then return { 'limit-reached', sale[4] } end
if this_minute >= tonumber(ARGV[12]) then return { 'too-many-claims' } end

-- The lag gate: whoever persists is so far behind that this claim might end before it is decided. What nobody decided
-- while its lease ran is lost, and says nothing about who comes now.
local lease, gate = tonumber(ARGV[6]), tonumber(ARGV[14])
if gate > 0 then
  local age = math.min(tonumber(ARGV[15]), lease / 2)
  forget_ended(undecided, lease)
  if redis.call('ZCOUNT', undecided, '(' .. (now - lease), now - age) >= gate then return { 'lagging' } end
  redis.call('ZADD', undecided, now, uuid)
end

local expires, ids = now + lease, {}
for _, seat in ipairs(seats) do note(seat[1], seat[2], expires, uuid) end
for id in string.gmatch(json, '"id":"([^"]+)"') do ids[#ids + 1] = id end
local left = {}
for i = 1, #entries, 2 do
  local until_ms = string.match(entries[i + 1], '^(%d+)')
  if entries[i] ~= '@rate' and until_ms ~= '0' and (not until_ms or tonumber(until_ms) <= now) then left[#left + 1] = entries[i] end
end
if #left > 0 then redis.call('HDEL', customer, unpack(left)) end
local entry = string.format('%d:%d:c:%s', expires, #seats, table.concat(ids, ','))
redis.call('HSET', customer, uuid, entry, '@rate', minute .. ':' .. (this_minute + 1))
local message = ARGV[9] .. string.format(',"seats":%s,"held_at_ms":%d,"expires_at_ms":%d}', json, now, expires)
-- Nobody can name an event's customers later, so what they have goes by itself, a week after the sale; their rows stay.
redis.call('PEXPIREAT', customer, tonumber(sale[3]) + 604800000)
redis.call('SET', record, '1\n\n' .. message, 'EX', ARGV[10])
return { 'granted', message, '1', tostring(now) }
