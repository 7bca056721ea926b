-- Writes one worker's heartbeat, stamped by the server's clock so that skewed workers are not taken for dead.
-- That a worker retires is written only while it is marked: the answer of a beat without a mark lets it go on.
-- KEYS: heartbeats hash, hash of retiring workers.
-- ARGV: worker, life of the whole hash in ms, JSON, JSON where the worker is marked, life of a mark in ms.
-- Returns: 1 when the worker is marked, which asks it to take no more jobs, else 0.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local mark = redis.pcall('HGET', KEYS[2], ARGV[1])
local ends = type(mark) == 'string' and tonumber(string.match(mark, '^%d+'))
local marked = ends and now < ends and ends <= now + 2 * ARGV[5] -- a mark that never ends is nobody's
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now) .. ' ' .. (marked and ARGV[4] or ARGV[3]))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return marked and 1 or 0
