-- Forgets old requests to abort jobs that are over. KEYS: the requests, scored by their time in ms.
-- ARGV: prefix of payload keys, age in ms, how many to look at.
-- Returns: how many were forgotten.
local time = redis.call('TIME')
local before = time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[2]
local forgotten = 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', before), 'LIMIT', 0, ARGV[3])) do
  if redis.call('EXISTS', ARGV[1] .. id) == 0 then
    redis.call('ZREM', KEYS[1], id)
    forgotten = forgotten + 1
  end
end
return forgotten
