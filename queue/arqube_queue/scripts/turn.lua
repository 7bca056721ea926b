-- One turn of a worker's loop: ends the runs that are done, then leases up to `limit` due jobs, earliest first.
--
-- A job whose last two tries were lost with their workers may be what ended them. It is leased in a turn of its own, and
-- by a worker that runs no other such job: else it would end, with itself, those that were leased beside it.
--
-- A job is ours while its in-progress key holds our token. It still is when that key has run out and nothing has
-- happened to the job since: same count of tries, same due time. So what ended while Redis was away can be told later.
--
-- Beside all that it records the jobs' tries (arqube_queue.job_tries), each kind of write once for all jobs: a line when a
-- job is leased, and what the worker sends when a run ends. Whatever goes wrong with that does not hold up the jobs.
--
-- KEYS: queue, dead letters' index, hash of first sightings of unknown functions, heartbeats, records of ended jobs, index
--       of those by their ends, tries of jobs that have not ended.
-- ARGV: settings, then the runs' ends, each an operation with its arguments, then ids of running jobs that may be aborted.
-- Returns: {status an end}, {id, due, tries, payload or nil, aborted, former tries or nil, ...}, due time of the next deferred job or -1,
--          rank from which to look next time, due jobs passed by as they run, {ids of running jobs that are to be aborted},
--          the time in ms, 1 when what was leased is a suspect.
local queue, dead, sightings, heartbeats, records, record_ends, open = unpack(KEYS)
local call, try = redis.call, redis.pcall -- this comes tens of times a job
local at = 0
local function take() at = at + 1; return ARGV[at] end
local function number() return tonumber(take()) end

local now, token, lease, limit, start, look, page = number(), take(), take(), number(), number(), number(), number()
local suspects_wanted = take() == '1'
local job, in_progress, retry, result, abort, letter = take(), take(), take(), take(), take(), take()
local retry_life, default_life, tolerance, stale = take(), number(), number(), number()
local worker, retention, max_entries, grace = take(), number(), number(), number()
local quoted_worker, most_tries, records_kept, records_life = take(), number(), number(), number()

local TRIM_AT_ONCE = 20 -- dead letters dropped at one death, so that the script stays short
local SOONEST_PUT_BACK, LONGEST_PUT_BACK = 1000, 10000

local time = call('TIME')
local server_now = time[1] * 1000 + math.floor(time[2] / 1000)
local function ms(value) return string.format('%.0f', value) end
local stamp = ms(server_now)
-- A key that holds something of another type counts as absent: one stray write must not hold up all jobs.
local function filled(command, key)
  local size = try(command, key)
  return type(size) == 'number' and size > 0
end
local aborts = filled('ZCARD', abort)
local sighted = filled('HLEN', sightings)

local holders = {} -- of the jobs whose runs end, by id: read at once, and kept up to date

local function ours(id, owner, tries, due)
  local holder = holders[id]
  if holder then return holder == owner end
  return try('GET', retry .. id) == tries and call('ZSCORE', queue, id) == due
end

-- What is to be recorded once all ends are told, flat as the commands take it.
local ended, ended_at, ended_ids, closed, reopened = {}, {}, {}, {}, {}

local function record_end(id, text)
  local count = #ended_ids + 1
  ended[2 * count - 1], ended[2 * count] = id, text
  ended_at[2 * count - 1], ended_at[2 * count] = stamp, id
  ended_ids[count] = id
end

local function record_open(id, text)
  if text == '' then
    closed[#closed + 1] = id
  else
    reopened[#reopened + 1], reopened[#reopened + 2] = id, text
  end
end

local function drop_records(ids)
  if #ids > 0 then
    try('ZREM', record_ends, unpack(ids))
    try('HDEL', records, unpack(ids))
  end
end

local function write_records()
  if #reopened > 0 then
    try('HSET', open, unpack(reopened))
    try('PEXPIRE', open, ms(records_life))
  end
  if #closed > 0 then try('HDEL', open, unpack(closed)) end
  if #ended_ids == 0 then return end
  try('HDEL', open, unpack(ended_ids))
  try('HSET', records, unpack(ended))
  try('ZADD', record_ends, unpack(ended_at))
  try('PEXPIRE', records, ms(records_life))
  try('PEXPIRE', record_ends, ms(records_life))
  local aged = try('ZRANGEBYSCORE', record_ends, '-inf', ms(server_now - records_life), 'LIMIT', 0, TRIM_AT_ONCE)
  drop_records(aged)
  local kept = try('ZCARD', record_ends)
  local excess = type(kept) == 'number' and math.min(kept - records_kept, #ended_ids + TRIM_AT_ONCE) or 0
  if excess > 0 then drop_records(try('ZRANGE', record_ends, 0, excess - 1)) end
end

local function drop_letters(ids)
  for _, id in ipairs(ids) do call('ZREM', dead, id); call('DEL', letter .. id) end
end

local function bury(id, payload, tries, reason, name, message, traceback, enqueued)
  call('DEL', letter .. id)
  call('HSET', letter .. id, 'payload', payload or '', 'reason', reason, 'function', name, 'error', message,
    'traceback', traceback, 'tries', tries, 'enqueued_ms', enqueued, 'died_ms', ms(server_now), 'worker', worker)
  call('PEXPIRE', letter .. id, ms(retention)) -- also where no later death trims them
  call('ZADD', dead, ms(server_now), id)
  call('PEXPIRE', dead, ms(retention))
  drop_letters(call('ZRANGEBYSCORE', dead, '-inf', ms(server_now - retention), 'LIMIT', 0, TRIM_AT_ONCE))
  local excess = math.min(call('ZCARD', dead) - max_entries, TRIM_AT_ONCE)
  if excess > 0 then drop_letters(call('ZRANGE', dead, 0, excess - 1)) end
end

-- Deletes first: a Redis that is out of memory lets a script go on that has begun to write, and this makes room.
-- The members go at last, all at once.
local over = {}

local function finish(id, data, life, keep)
  over[#over + 1] = id
  call('DEL', in_progress .. id, retry .. id, job .. id)
  holders[id] = keep ~= '0' and '1'
  if holders[id] then call('SET', in_progress .. id, '1', 'PX', keep) end
  if aborts then call('ZREM', abort, id) end
  if sighted then call('HDEL', sightings, id) end
  if data ~= '' then
    if life == '0' then call('SET', result .. id, data) else call('SET', result .. id, data, 'PX', life) end
  end
end

local function requeue(id, due, tries, keep)
  holders[id] = keep ~= '0' and '1'
  if holders[id] then call('SET', in_progress .. id, '1', 'PX', keep) else call('DEL', in_progress .. id) end
  if tries == '0' then
    call('DEL', retry .. id)
  elseif tries ~= '' then
    call('SET', retry .. id, tries, 'EX', retry_life)
  end
  if due ~= '' then call('ZADD', queue, 'XX', due, id) end
end

-- A later due time must not outlive the payload, unless its producer has set how long it may wait.
local function keep_payload(id, due)
  local left = call('PTTL', job .. id)
  if left >= 0 and math.abs(server_now + left - tonumber(due) - default_life) <= tolerance then
    call('PERSIST', job .. id)
  end
end

-- Of another type than text as RESTORE takes it: it is not known whose it is, so it is kept.
local function payload_of(id)
  local payload = call('MGET', job .. id)[1]
  if not payload then payload = try('DUMP', job .. id) end
  return type(payload) == 'string' and payload
end

local known = {}
local function is_known(name)
  if known[name] == nil then
    known[name] = false
    local plain = not string.find(name, '[^%w_.:-]') -- JSON has it as it is
    for _, beat in ipairs(try('HVALS', heartbeats)) do
      -- Decoding those of a thousand workers takes milliseconds.
      local may_know = not plain or string.find(beat, name, 1, true)
      local stamp, body = string.match(beat, '^(%d+) (.*)$')
      local readable, document = pcall(cjson.decode, may_know and body or '')
      local names = readable and type(document) == 'table' and document['functions']
      if type(names) == 'table' and math.abs(server_now - tonumber(stamp)) <= stale then
        for _, each in ipairs(names) do
          if each == name then known[name] = true end
        end
      end
      if known[name] then break end
    end
  end
  return known[name]
end

-- Arguments of each operation, its name included (arqube_queue.turns).
local LENGTHS = {finish = 9, requeue = 9, bury = 15, unknown = 16, lease = 5, misnamed = 13}

local function read_holders(count)
  if count == 0 then return end
  local ids, names, first = {}, {}, at + 1
  for each = 1, count do
    ids[each], names[each] = ARGV[first + 1], in_progress .. ARGV[first + 1]
    first = first + LENGTHS[ARGV[first]]
  end
  local found = call('MGET', unpack(names))
  for each, id in ipairs(ids) do holders[id] = found[each] end
end

local statuses = {}

local function end_runs(count)
  read_holders(count)
  for each = 1, count do
    local operation, id, owner, tries, due = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5]
    at = at + 5
    local mine = ours(id, owner, tries, due)
    local status = mine and 1 or 0
    if operation == 'finish' then
      local data, life, keep, record = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
      at = at + 4
      if mine then
        finish(id, data, life, keep)
        record_end(id, record)
      end
    elseif operation == 'requeue' then
      local later, count, keep, record = take(), take(), take(), take()
      if mine then
        record_open(id, record)
        if later ~= '' then keep_payload(id, due) end
        requeue(id, later, count, keep)
      end
    elseif operation == 'bury' or operation == 'unknown' then
      local data, life, keep, record = take(), take(), take(), take()
      local reason, name, message, traceback, attempts, enqueued = take(), take(), take(), take(), take(), take()
      local former = operation == 'unknown' and take()
      local final = operation == 'bury'
      if mine and not final then
        local first = sighted and tonumber(call('HGET', sightings, id) or nil) or server_now
        local age, living = server_now - first, is_known(name)
        final = age >= grace and not living
        if not final then
          keep_payload(id, due)
          -- Whoever knows it shall not wait for it: it may be taken by others a few times more before.
          local delay = living and SOONEST_PUT_BACK or math.min(math.max(SOONEST_PUT_BACK, age), LONGEST_PUT_BACK)
          requeue(id, ms(now + delay), ms(tonumber(tries) - 1), '0')
          record_open(id, former)
          try('HSETNX', sightings, id, ms(first))
          try('PEXPIRE', sightings, ms(2 * grace + 86400000))
          sighted = filled('HLEN', sightings)
        end
      end
      if mine and final then
        local payload = payload_of(id)
        finish(id, data, life, keep)
        bury(id, payload, attempts, reason, name, message, traceback, enqueued)
        record_end(id, record)
        status = 2
      end
    elseif operation == 'misnamed' then
      local name_of_letter, record = take(), take()
      local reason, name, message, traceback, attempts, enqueued = take(), take(), take(), take(), take(), take()
      if mine then
        local payload = payload_of(id)
        finish(id, '', '0', '0')
        bury(name_of_letter, payload, attempts, reason, name, message, traceback, enqueued)
        record_open(id, '')
        record_end(name_of_letter, record)
        status = 2
      end
    elseif operation == 'lease' then
      if mine then
        call('SET', in_progress .. id, owner, 'PX', lease)
        holders[id] = owner
      end
    end
    statuses[each] = status
  end
end

local fine, problem = pcall(end_runs, number())
if #over > 0 then call('ZREM', queue, unpack(over)) end
write_records()
if not fine then error(problem, 0) end

local FIELDS = 6
local leased_ids, payload_keys, leased_again = {}, {}, {}
local leased, next_due, next_start, running, suspected = {}, '-1', 0, 0, 0

-- The lines of the tries before one that is leased again.
local function without_last(lines) return string.match(lines, '^(.*)\n[^\n]*$') end

-- Whether the last two tries have no end in their lines: one that was told ends with a text.
local function is_suspect(id, again)
  local lines = try('HGET', open, id)
  if type(lines) == 'string' and again then lines = without_last(lines) end
  return type(lines) == 'string' and string.find(lines, '^%d%]$', -2) and string.find(lines, '%d%]\n[^\n]*$')
end

local function take_lease(id, due, key, again, first)
  call('SET', key, token, 'PX', lease)
  local tries = 1
  if again then
    tries = try('GET', retry .. id)
    tries = type(tries) == 'string' and tonumber(tries) or 1
  elseif not first then
    tries = try('INCR', retry .. id)
    if type(tries) ~= 'number' or tries < 1 then -- no count of tries: begin anew
      tries = 1
      call('SET', retry .. id, 1)
    end
    call('EXPIRE', retry .. id, retry_life)
  end
  local aborted = aborts and call('ZSCORE', abort, id) and 1 or 0
  local each = #leased_ids + 1
  local count = (each - 1) * FIELDS
  leased[count + 1], leased[count + 2], leased[count + 3] = id, due, tries
  leased[count + 4], leased[count + 5], leased[count + 6] = false, aborted, false
  leased_ids[each], payload_keys[each], leased_again[each] = id, job .. id, again
end

-- The payloads of the leased jobs, and their tries so far, to which this one is added.
local function complete_leases()
  local payloads = call('MGET', unpack(payload_keys))
  local former = try('HMGET', open, unpack(leased_ids))
  local lines, line_of = {}, {}
  for each, id in ipairs(leased_ids) do
    local at, tries = (each - 1) * FIELDS, former[each] or nil
    leased[at + 4] = payloads[each]
    if not payloads[each] and call('EXISTS', payload_keys[each]) == 1 then
      local kind = try('TYPE', payload_keys[each]).ok or 'thing of its own'
      leased[at + 4] = {err = 'WRONGTYPE ' .. payload_keys[each] .. ' is a ' .. kind}
    end
    if tries and leased_again[each] then tries = without_last(tries) end
    if tries and select(2, string.gsub(tries, '\n', '')) + 2 > most_tries then
      tries = string.match(tries, '\n(.*)$')
    end
    leased[at + 6] = tries or false
    local number = leased[at + 3]
    local line = line_of[number]
    if not line then
      line = '[' .. number .. ',' .. quoted_worker .. ',' .. stamp .. ']'
      line_of[number] = line
    end
    lines[2 * each - 1], lines[2 * each] = id, tries and tries .. '\n' .. line or line
  end
  try('HSET', open, unpack(lines))
  try('PEXPIRE', open, ms(records_life))
end

-- Whether the job of that rank runs, or is a suspect that this turn does not want.
local function is_passed_by(rank)
  local member = call('ZRANGE', queue, rank, rank)[1]
  return member and (call('EXISTS', in_progress .. member) == 1 or (not suspects_wanted and is_suspect(member, false)))
end

-- The rank below `high` at which a job that is free follows one that is passed by. Where all of those stand at the head
-- that is the first free job; else it may be a later one: looks from the head find those before.
local function end_of_passed_by(high)
  local low = 0
  while low < high do
    local middle = math.floor((low + high) / 2)
    if is_passed_by(middle) then low = middle + 1 else high = middle end
  end
  return low
end

if limit > 0 then
  local rank, left = start, limit
  -- Running jobs stand at the head; begin behind them as long as they do. They become fewer as jobs end: to look at all
  -- of them anew each time would take longer the more there are.
  if rank > 0 and not is_passed_by(rank - 1) then rank = rank > page and end_of_passed_by(rank) or 0 end
  local stop = rank + look
  running = rank
  while left > 0 do
    if rank >= stop then next_start = rank; break end
    local members, keys, later = call('ZRANGE', queue, rank, rank + page - 1, 'WITHSCORES'), {}, false
    for i = 1, #members, 2 do
      if tonumber(members[i + 1]) > now then
        later, next_due = true, members[i + 1]
        break
      end
      keys[#keys + 1] = in_progress .. members[i]
    end
    local holders = #keys > 0 and call('MGET', unpack(keys)) or keys
    for i = 1, #keys do
      local id, again = members[2 * i - 1], holders[i] == token
      if not holders[i] or again then
        local first = not again and call('SET', retry .. id, 1, 'EX', retry_life, 'NX')
        local suspect = not first and is_suspect(id, again)
        if not suspect or again or (suspects_wanted and #leased_ids == 0) then
          take_lease(id, members[2 * i], keys[i], again, first)
          left = left - 1
          if suspect then left, suspected = 0, 1 end
          if left == 0 then next_start = rank + i; break end
        elseif suspects_wanted then -- the next turn begins with it
          left, next_start = 0, rank + i - 1
          break
        end
      else
        running = running + 1
      end
    end
    if later or #members < 2 * page then break end
    rank = rank + page
  end
  if #leased_ids > 0 then complete_leases() end
end

local to_abort = {}
if aborts then
  for each = 1, number() do
    local id = take()
    if call('ZSCORE', abort, id) then to_abort[#to_abort + 1] = id end
  end
end
return {statuses, leased, next_due, next_start, running, to_abort, server_now, suspected}
