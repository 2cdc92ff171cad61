-- What the scripts share, put in front of each: the clock, and how a claim on a seat is read, written and dropped.
-- A section is a table of its five keys (see keys.rs). The places of a general section are drawn from `used`, which has a
-- bit for whatever is sold, blocked or claimed; `ends` says when a claim's bit may be cleared again.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function section_of(claims, taken, blocked, used, ends, general)
  return { claims = claims, taken = taken, blocked = blocked, used = used, ends = ends, general = general }
end

-- The sections whose keys stand in KEYS from `first` on, five each; `kinds` has a letter for each: g(eneral) or s(eated).
local function sections_from(first, kinds)
  local sections = {}
  for n = 1, #kinds do
    local at = first + 5 * (n - 1)
    local general = string.sub(kinds, n, n) == 'g'
    sections[n] = section_of(KEYS[at], KEYS[at + 1], KEYS[at + 2], KEYS[at + 3], KEYS[at + 4], general)
  end
  return sections
end

-- The expiry and the owner noted for a seat, or nil.
local function noted(section, number)
  local claim = redis.call('HGET', section.claims, number)
  if claim then return tonumber(string.sub(claim, 1, 13)), string.sub(claim, 15) end
  return nil
end

-- The owner of the live claim on a seat, or nil.
local function owner_of(section, number)
  local expiry, owner = noted(section, number)
  if expiry and expiry > now then return owner end
  return nil
end

local function note(section, number, expiry, owner)
  redis.call('HSET', section.claims, number, string.format('%013d', expiry) .. ':' .. owner)
  if section.general then
    redis.call('SETBIT', section.used, number, 1)
    redis.call('ZADD', section.ends, expiry, number)
  end
end

local function forget(section, number)
  redis.call('HDEL', section.claims, number)
  if section.general then
    redis.call('ZREM', section.ends, number)
    if redis.call('GETBIT', section.taken, number) == 0 then redis.call('SETBIT', section.used, number, 0) end
  end
end

-- Marks a seat as sold or blocked, or as neither.
local function mark(section, number, taken, blocked)
  redis.call('SETBIT', section.taken, number, taken)
  if blocked == 1 or redis.call('EXISTS', section.blocked) == 1 then
    redis.call('SETBIT', section.blocked, number, blocked)
  end
  if section.general then
    if taken == 1 or not redis.call('HGET', section.claims, number) then
      redis.call('SETBIT', section.used, number, taken)
    end
  end
end

-- All that stands here of a seat, to be compared: "<taken><blocked><used>:<end of its claim among `ends`>:<claim>".
local function state_of(section, number)
  local bits = redis.call('GETBIT', section.taken, number) .. redis.call('GETBIT', section.blocked, number)
  local used, ends = 0, ''
  if section.general then
    used, ends = redis.call('GETBIT', section.used, number), redis.call('ZSCORE', section.ends, number) or ''
  end
  return bits .. used .. ':' .. ends .. ':' .. (redis.call('HGET', section.claims, number) or '')
end

-- Forgets claims among the undecided whose lease has ended; a hundred a time are more than come.
local function forget_ended(undecided, lease)
  local ended = redis.call('ZRANGEBYSCORE', undecided, '-inf', now - lease, 'LIMIT', 0, 100)
  if #ended > 0 then redis.call('ZREM', undecided, unpack(ended)) end
end

-- A record's attempts, what was told of its reservation ('' = nothing yet), and its message; nil = there is none.
local function read_record(key)
  return string.match(redis.call('GET', key) or '', '^(%d+)\n([^\n]*)\n(.*)$')
end

-- How far what is told has come (see Status::rank in the domain), and until when it says that the hold was prolonged, or 0.
local function read_told(told)
  if not told or told == '' then return 0, 0 end
  local decoded = cjson.decode(told)
  local rank = ({ HELD = 1, CONFIRMED = 2 })[decoded.status or decoded.outcome] or 3
  return rank, decoded.prolonged_to_ms or 0
end

-- A change of a reservation, as `moving` knows it.
local function announcement(uuid, token)
  return uuid .. ':' .. string.format('%d', token)
end

-- Splits a seat's id into its section's label and the rest; a place has no row, so no second hyphen.
local function label_of(id)
  local label, rest = string.match(id, '^([^-]+)-(.*)$')
  return label, not string.find(rest, '-', 1, true)
end

