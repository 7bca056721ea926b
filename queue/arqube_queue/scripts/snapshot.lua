-- Reads one queue and its workers' heartbeats at one moment of the server's clock, marks workers that shall retire, and
-- keeps a sample of what it read every few seconds.
-- A mark names who set it, as several may look after one queue, and ends by itself, as they may die.
-- KEYS: queue, heartbeats hash, dead letters, hash of retiring workers, list of the owner's samples.
-- ARGV: prefix of in-progress keys, horizon in ms, how many due members to look at, age in ms at which a heartbeat is
--       dropped, who sets the marks or '' for a reader who sets none, their life in ms, '<replicas> <ready>' to be
--       kept in the samples or '' for none, the workers to mark.
-- Returns: now, due, running among those looked at, due time of the longest waiting or -1, deferred, due soon,
--          due time of the next deferred or -1, then the heartbeats as in HGETALL, dead letters.
local queue, heartbeats = KEYS[1], KEYS[2]
local prefix, horizon, limit, stale = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function ms(number) return string.format('%.0f', number) end

local due = redis.call('ZCOUNT', queue, '-inf', ms(now))
local head = redis.call('ZRANGEBYSCORE', queue, '-inf', ms(now), 'WITHSCORES', 'LIMIT', 0, limit)
local running, oldest = 0, '-1'
for i = 1, #head, 2 do
  if redis.call('EXISTS', prefix .. head[i]) == 1 then
    running = running + 1
  elseif oldest == '-1' and tonumber(head[i + 1]) > 1 then -- arq moves an aborted job to score 1: no due time
    oldest = head[i + 1]
  end
end

local deferred = redis.call('ZCOUNT', queue, '(' .. ms(now), '+inf')
local soon, next_due = 0, '-1'
if deferred > 0 then
  soon = redis.call('ZCOUNT', queue, '(' .. ms(now), ms(now + horizon))
  next_due = redis.call('ZRANGEBYSCORE', queue, '(' .. ms(now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
end

local LONGEST_BEAT = 1048576 -- more would hold up the reading of all queues
local alive, all = {}, redis.call('HGETALL', heartbeats)
for i = 1, #all, 2 do
  local at = tonumber(string.match(all[i + 1], '^%d+'))
  if at and math.abs(now - at) <= stale and #all[i] + #all[i + 1] <= LONGEST_BEAT then
    alive[#alive + 1] = all[i]
    alive[#alive + 1] = all[i + 1]
  else
    redis.call('HDEL', heartbeats, all[i]) -- killed workers leave theirs behind, and some of it is none
  end
end

local owner, life = ARGV[5], ARGV[6]
if owner ~= '' and (#ARGV > 7 or redis.call('EXISTS', KEYS[4]) == 1) then
  local marked, mark = {}, ms(now + life) .. ' ' .. owner
  for i = 8, #ARGV do
    marked[ARGV[i]] = true
    redis.pcall('HSET', KEYS[4], ARGV[i], mark) -- a server that is full is read nonetheless
  end
  local marks = redis.pcall('HGETALL', KEYS[4]) -- what is of another type ends as marks do
  for i = 1, #marks, 2 do
    local ends, by = string.match(marks[i + 1], '^(%d+) (.*)$')
    ends = tonumber(ends or 0)
    if not marked[marks[i]] and (by == owner or now >= ends or ends > now + 2 * life) then
      redis.call('HDEL', KEYS[4], marks[i])
    end
  end
  redis.call('PEXPIRE', KEYS[4], life)
end

local SAMPLE_EVERY, SAMPLES, SAMPLES_LIFE = 5000, 180, 3600000
local workers = ARGV[7]
if owner ~= '' and workers ~= '' then
  -- pcall: a server that is full, or a user who may not write, is read nonetheless.
  local last = redis.pcall('LINDEX', KEYS[5], -1)
  local at = type(last) == 'string' and tonumber(string.match(last, '^%d+')) or 0
  if math.floor(now / SAMPLE_EVERY) ~= math.floor(at / SAMPLE_EVERY) then
    local wait = oldest == '-1' and 0 or math.max(0, now - tonumber(oldest))
    local sample = {ms(now), due - running, running, deferred, ms(wait), workers}
    redis.pcall('RPUSH', KEYS[5], table.concat(sample, ' '))
    redis.pcall('LTRIM', KEYS[5], -SAMPLES, -1)
    redis.pcall('PEXPIRE', KEYS[5], SAMPLES_LIFE)
  end
end
return {ms(now), due, running, oldest, deferred, soon, next_due, alive, redis.call('ZCARD', KEYS[3])}
