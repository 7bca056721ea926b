-- Puts dead letters back into the queue: due now, no try used, no result. Each only where nothing has its id meanwhile.
-- What is recorded of its tries goes with it.
-- KEYS: dead letters, queue, arq:abort, records of ended jobs, index of those, tries of jobs that have not ended.
-- ARGV: latest time of death in ms, life of the payloads in ms, 1 to change nothing, prefixes of job, result and retry
--       keys, ids...
-- Returns: for each id one of retried, missing, without_payload, queued.
local dead, queue, abort = KEYS[1], KEYS[2], KEYS[3]
local till, life, dry, job, result, retry = ARGV[1], ARGV[2], ARGV[3] == '1', ARGV[4], ARGV[5], ARGV[6]
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))

local function reopen(id)
  local record = redis.call('HGET', KEYS[4], id)
  local tries = record and string.match(record, '\n(.*)$')
  if tries then redis.call('HSET', KEYS[6], id, tries) end
  redis.call('HDEL', KEYS[4], id)
  redis.call('ZREM', KEYS[5], id)
end

local outcomes = {}
for i = 7, #ARGV do
  local id = ARGV[i]
  local key = dead .. ':' .. id
  local at = redis.call('ZSCORE', dead, id)
  local payload = redis.call('HGET', key, 'payload')
  local outcome
  if not at or tonumber(at) > tonumber(till) then
    outcome = 'missing'
  elseif not payload or payload == '' then
    outcome = 'without_payload'
  elseif redis.call('EXISTS', job .. id) == 1 or redis.call('ZSCORE', queue, id) then
    outcome = 'queued'
  else
    outcome = 'retried'
  end
  if outcome == 'retried' and not dry then
    redis.call('DEL', result .. id, retry .. id, key)
    redis.call('ZREM', abort, id) -- of the run that died
    redis.call('SET', job .. id, payload, 'PX', life)
    redis.call('ZADD', queue, now, id)
    redis.call('ZREM', dead, id)
    reopen(id)
  end
  outcomes[#outcomes + 1] = outcome
end
return outcomes
