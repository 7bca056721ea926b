-- Leases up to `limit` due jobs, earliest first. Running members stay in the queue, so it pages past them.
-- A job leased under this very token was leased by an earlier call whose answer got lost: it is handed out again.
-- KEYS: queue.  ARGV: now in ms, token, lease in ms, limit, page, prefix of in-progress keys, prefix of retry keys.
-- Returns: {id, score, tries so far, ...}, due time of the next deferred job or -1.
local queue = KEYS[1]
local now, token, lease, limit, page = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local in_progress, retry = ARGV[6], ARGV[7]

local claimed, left, offset = {}, limit, 0
while left > 0 do
  local members = redis.call('ZRANGEBYSCORE', queue, '-inf', now, 'WITHSCORES', 'LIMIT', offset, page)
  for i = 1, #members, 2 do
    local key = in_progress .. members[i]
    local owner = redis.call('GET', key)
    if not owner or owner == token then
      redis.call('SET', key, token, 'PX', lease)
      claimed[#claimed + 1] = members[i]
      claimed[#claimed + 1] = members[i + 1]
      claimed[#claimed + 1] = redis.call('GET', retry .. members[i]) or '0'
      left = left - 1
      if left == 0 then break end
    end
  end
  if #members < 2 * page then break end
  offset = offset + page
end

local next_due = redis.call('ZRANGEBYSCORE', queue, '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2] or '-1'
return {claimed, next_due}
