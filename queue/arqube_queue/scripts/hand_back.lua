-- Gives a leased job back as it was taken: due, leased by nobody, no try used. Repeating it does no harm.
-- KEYS: in-progress key, retry key.  ARGV: token, tries before the claim, life of the retry key in seconds.
-- Returns: 1, or 0 when the lease is no longer the token's, which leaves all as it is.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[2])
else
  redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
end
return 1
