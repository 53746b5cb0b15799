-- Counts in windows of a fixed length. For each: name, length in milliseconds -> count, milliseconds left
local results = {}
for i = 1, #ARGV, 2 do
  local counter = key('u', ARGV[i])
  local count = redis.call('INCR', counter)
  if count == 1 then
    redis.call('PEXPIRE', counter, ARGV[i + 1])
  end
  results[#results + 1] = { count, redis.call('PTTL', counter) }
end
return results
