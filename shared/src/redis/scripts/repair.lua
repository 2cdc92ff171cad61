-- Makes seats of a section here what DynamoDB has, each only where it still stands as it was seen before DynamoDB was read:
-- whatever came in between knows better. What it cannot see is a seat that came back to its state meanwhile, or was told a
-- truth that left a damaged state as it was: so nothing is done by an old look, and the caller looks again afterwards.
--
-- KEYS  1 … 5 the section's five keys
-- ARGV  1 kind of the section, 2 when it was looked at, in ms, 3 how long ago that may be, in ms
--       then per seat: number, state as it was seen, wanted state (sold | blocked | claimed | free), owner,
--         end of the claim, or for what is gone for good, up to when somebody else's may last, in ms
-- Returns the positions (from 0) of the seats that were repaired; none where it is too late or the section is cold
local section, repaired = sections_from(1, ARGV[1])[1], {}
if now - tonumber(ARGV[2]) > tonumber(ARGV[3]) or redis.call('HEXISTS', section.claims, '@loaded') == 0 then return repaired end
for i = 4, #ARGV, 5 do
  local number, wanted, owner, expiry = ARGV[i], ARGV[i + 2], ARGV[i + 3], tonumber(ARGV[i + 4])
  if state_of(section, number) == ARGV[i + 1] then
    if wanted == 'sold' or wanted == 'blocked' then
      mark(section, number, 1, wanted == 'blocked' and 1 or 0)
      -- Somebody else's live claim is his until it is decided or ends.
      local ends, claimant = noted(section, number)
      if not ends or ends <= now or ends > expiry or claimant == owner then forget(section, number) end
    else
      mark(section, number, 0, 0)
      if wanted == 'free' then forget(section, number) else note(section, number, expiry, owner) end
    end
    repaired[#repaired + 1] = (i - 4) / 5
  end
end
return repaired
