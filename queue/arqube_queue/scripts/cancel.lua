-- Asks to abort a job as arq's `Job.abort` does, in one step: one that is due later comes to the front, where the next
-- free worker ends it. KEYS: queue, arq:abort, records of ended jobs, dead letters.
-- ARGV: id, prefixes of in-progress and result keys.
-- Returns: running, waiting, ended or missing.
local queue, abort, id = KEYS[1], KEYS[2], ARGV[1]
local due = redis.call('ZSCORE', queue, id)
if not due then
  local over = redis.call('HEXISTS', KEYS[3], id) == 1 or redis.call('ZSCORE', KEYS[4], id)
    or redis.call('EXISTS', ARGV[3] .. id) == 1
  return over and 'ended' or 'missing'
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local running = redis.call('EXISTS', ARGV[2] .. id) == 1
if not running and tonumber(due) > now then redis.call('ZADD', queue, 'XX', 1, id) end
redis.call('ZADD', abort, string.format('%.0f', now), id)
return running and 'running' or 'waiting'
