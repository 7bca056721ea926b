-- Looks through the tries of jobs that have not ended for jobs that are no longer queued: plain arq's workers end jobs
-- and record nothing. What is known of them moves to the ended ones.
-- KEYS: queue, tries of jobs that have not ended, records of ended jobs, index of those. ARGV: cursor, how many to look at.
-- Returns: the next cursor, 0 at the end.
local queue, open, records, record_ends = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local answer = redis.call('HSCAN', open, ARGV[1], 'COUNT', ARGV[2])
local found = answer[2]
for i = 1, #found, 2 do
  local id = found[i]
  if not redis.call('ZSCORE', queue, id) then
    redis.call('HDEL', open, id)
    if redis.call('HSETNX', records, id, found[i + 1]) == 1 then redis.call('ZADD', record_ends, now, id) end
  end
end
return tonumber(answer[1])
