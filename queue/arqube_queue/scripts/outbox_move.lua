-- Puts jobs from an outbox into their queues, each row once, as arq's enqueue_job would.
-- KEYS: tokens of rows that were moved before, scored by that time in ms.
-- ARGV: time in ms after which to do nothing, prefixes of payloads and of results, how long payloads live beyond their
--       due time in ms, how late in ms a job may be and still live as long; then for each row its token, job id, queue,
--       payload, due time in ms, and time in ms after which it must not start ('' where none was set).
-- Returns: the time in ms, and for each row '' or why it cannot be moved; nothing for the rows when it is too late.
local moved, until_ms, job, result = KEYS[1], tonumber(ARGV[1]), ARGV[2], ARGV[3]
local life, tolerance = tonumber(ARGV[4]), tonumber(ARGV[5])

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function ms(value) return string.format('%.0f', value) end
if now > until_ms then return {ms(now)} end

local function enqueue(id, queue, payload, due, expires)
  if redis.call('EXISTS', job .. id, result .. id) > 0 then return '' end
  local added = redis.pcall('ZADD', queue, due, id) -- first, as it is what can be refused
  if type(added) == 'table' and added.err then return added.err end
  if expires ~= '' then
    -- What is over already expires at once, so that a worker tells of it.
    redis.call('SET', job .. id, payload, 'PX', ms(math.max(1, expires - now)))
  elseif now - due > tolerance then
    redis.call('SET', job .. id, payload) -- the relay was away, which must not cost the job its life
  else
    redis.call('SET', job .. id, payload, 'PX', ms(math.max(1, due + life - now)))
  end
  return ''
end

local refusals = {}
for at = 6, #ARGV, 6 do
  local token, refusal = ARGV[at], ''
  if not redis.call('ZSCORE', moved, token) then
    refusal = enqueue(ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5])
    if refusal == '' then redis.call('ZADD', moved, ms(now), token) end
  end
  refusals[#refusals + 1] = refusal
end
return {ms(now), refusals}
