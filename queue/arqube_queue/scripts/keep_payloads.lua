-- Takes the life of old waiting jobs' payloads away where it is the default one, so that a backlog outlives a day.
-- A producer's own `_expires` stays. KEYS: queue.
-- ARGV: prefix of payload keys, default life after the due time in ms, tolerance in ms, first rank, how many to look at.
-- Returns: rank at which to go on, 0 when all that are old enough were seen.
local prefix, life, tolerance = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local first, count = tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local members = redis.call('ZRANGE', KEYS[1], first, first + count - 1, 'WITHSCORES')
for i = 1, #members, 2 do
  local due = tonumber(members[i + 1])
  if due > now - life / 2 then return 0 end
  local left = redis.call('PTTL', prefix .. members[i])
  if left >= 0 and math.abs(now + left - due - life) <= tolerance then
    redis.call('PERSIST', prefix .. members[i])
  end
end
return #members < 2 * count and 0 or first + count
