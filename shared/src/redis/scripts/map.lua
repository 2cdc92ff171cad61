-- Reads sections as they are now: one command, no key per seat. Who is claimed is counted anew, which takes time with the
-- claims, or taken from what was counted for somebody else a moment ago; who is sold or blocked is always read.
--
-- KEYS  1 event, then per section: claims, taken, blocked, counted
-- ARGV  1 how old a count may be, in ms (-1 = it has to be anew), 2 or not older than this moment (ms; '' = none)
--       3 a count younger than this is not made anew, in ms: the caller sees its moment and comes again
--       4 how long a count is kept, in ms
-- Returns now, layout version, then per section: loaded (1 | 0), taken, blocked, claimed (bitmaps), when that was counted
local oldest, since, pace = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local sub, char, floor, weights = string.sub, string.char, math.floor, { [0] = 128, 64, 32, 16, 8, 4, 2, 1 }

local function count(claims)
  local entries, bytes, last = redis.call('HGETALL', claims), {}, 0
  for i = 1, #entries, 2 do
    local number = tonumber(entries[i])
    if number and tonumber(sub(entries[i + 1], 1, 13)) > now then
      local at = floor(number / 8) + 1
      bytes[at] = (bytes[at] or 0) + weights[number % 8]
      if at > last then last = at end
    end
  end
  for at = 1, last do bytes[at] = char(bytes[at] or 0) end
  return table.concat(bytes)
end

local answer = { tostring(now), redis.call('HGET', KEYS[1], 'version') or '0' }
for key = 2, #KEYS, 4 do
  local loaded, claimed, at = redis.call('HEXISTS', KEYS[key], '@loaded'), '', now
  if loaded == 1 then
    local kept = redis.call('GET', KEYS[key + 3])
    if kept then at, claimed = tonumber(sub(kept, 1, 13)), sub(kept, 14) end
    local age = now - at
    local will_do = kept and age >= 0 and (age <= oldest or (since and at >= since) or age < pace)
    if not will_do then
      at, claimed = now, count(KEYS[key])
      -- That it cannot be kept (no memory, a replica) is no failure.
      redis.pcall('SET', KEYS[key + 3], string.format('%013d', now) .. claimed, 'PX', ARGV[4])
    end
  end
  answer[#answer + 1] = tostring(loaded)
  answer[#answer + 1] = redis.call('GET', KEYS[key + 1]) or ''
  answer[#answer + 1] = redis.call('GET', KEYS[key + 2]) or ''
  answer[#answer + 1] = claimed
  answer[#answer + 1] = tostring(at)
end
return answer
