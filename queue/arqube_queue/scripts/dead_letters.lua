-- Reads one page of a queue's dead letters, in the order of their deaths. Writes nothing.
-- KEYS: dead letters.
-- ARGV: "newest" or "oldest" first, times of death from and to in ms, time and id of the last one seen (id may be ''),
--       how many, bytes of a payload to hand out where the worker could not tell the function.
-- Returns: 1 when the range goes on, then for each {id, time, bytes of the payload, its beginning, reason, function,
--          error, tries, enqueued_ms, worker}. One whose hash is gone has aged out and is passed over, but for its id
--          and time; so is one whose key holds something else.
local dead, order, since, till, last_time, last_id = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local count, head = tonumber(ARGV[6]), tonumber(ARGV[7])
local newest = order == 'newest'

local rank = last_id ~= '' and redis.call(newest and 'ZREVRANK' or 'ZRANK', dead, last_id)
local start
if rank and tonumber(redis.call('ZSCORE', dead, last_id)) == tonumber(last_time) then
  start = rank + 1
elseif newest then -- the last one seen is gone: from the others of its time on
  start = redis.call('ZCOUNT', dead, '(' .. (last_id ~= '' and last_time or till), '+inf')
else
  start = redis.call('ZCOUNT', dead, '-inf', '(' .. (last_id ~= '' and last_time or since))
end

local members = redis.call(newest and 'ZREVRANGE' or 'ZRANGE', dead, start, start + count - 1, 'WITHSCORES')
local more, page = #members == 2 * count and 1 or 0, {}
for i = 1, #members, 2 do
  local id, at = members[i], tonumber(members[i + 1])
  if (newest and at < tonumber(since)) or (not newest and at > tonumber(till)) then
    more = 0
    break
  end
  local key = dead .. ':' .. id
  local fields = redis.pcall('HMGET', key, 'reason', 'function', 'error', 'tries', 'enqueued_ms', 'worker')
  local letter = {id, members[i + 1]}
  if fields[1] then
    letter[3] = redis.call('HSTRLEN', key, 'payload')
    letter[4] = ''
    if letter[3] > 0 and (not fields[2] or fields[2] == '') then
      letter[4] = string.sub(redis.call('HGET', key, 'payload'), 1, head)
    end
    for n = 1, 6 do letter[4 + n] = fields[n] or '' end
  end
  page[#page + 1] = letter
end
return {more, page}
