-- Writes one worker's heartbeat, stamped by the server's clock so that skewed workers are not taken for dead.
-- KEYS: heartbeats hash.  ARGV: worker, JSON, life of the whole hash in ms.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now) .. ' ' .. ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return now
