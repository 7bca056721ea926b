-- Writes one worker's heartbeat, stamped by the server's clock so that skewed workers are not taken for dead.
-- KEYS: heartbeats hash, hash of retiring workers.  ARGV: worker, JSON, life of the whole hash in ms.
-- Returns: 1 when the worker is asked to take no more jobs, else 0.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now) .. ' ' .. ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local mark = redis.call('HGET', KEYS[2], ARGV[1])
local ends = mark and tonumber(string.match(mark, '^%d+'))
return ends and now < ends and 1 or 0
