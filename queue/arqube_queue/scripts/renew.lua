-- Extends the leases of running jobs.
-- ARGV: lease in ms, prefix of in-progress keys, then pairs of job id and token.
-- Returns, a job: 1 renewed, 0 run out, -1 another's.
local lease, prefix, states = ARGV[1], ARGV[2], {}
for i = 3, #ARGV, 2 do
  local key = prefix .. ARGV[i]
  local holder = redis.pcall('GET', key) -- of another type: somebody else's
  local state = 0
  if holder == ARGV[i + 1] then
    redis.call('PEXPIRE', key, lease)
    state = 1
  elseif holder then
    state = -1
  end
  states[#states + 1] = state
end
return states
