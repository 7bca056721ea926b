-- Forgets dead letters: those that are named, or else the oldest of a range of time.
-- KEYS: dead letters.
-- ARGV: times of death from and to in ms, how many of the range, ids...
-- Returns: how many were there.
local dead, since, till, count = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local ids = {}
if #ARGV == 3 then
  ids = redis.call('ZRANGEBYSCORE', dead, since, till, 'LIMIT', 0, count)
else
  for i = 4, #ARGV do
    local at = redis.call('ZSCORE', dead, ARGV[i])
    if at and tonumber(at) <= tonumber(till) then ids[#ids + 1] = ARGV[i] end
  end
end
local purged = 0
for _, id in ipairs(ids) do
  redis.call('DEL', dead .. ':' .. id)
  purged = purged + redis.call('ZREM', dead, id)
end
return purged
