-- The answers of clients to calls, if a log has this fence. For each: gid, fence, call -> the answer, and the fence of
-- the owner that was told; or nothing. An empty answer says that the time of the call is over.
local results = {}
for i = 1, #ARGV, 3 do
  local isOwn = redis.call('HGET', key('g', ARGV[i]), 'fence') == ARGV[i + 1]
  local stored = isOwn and redis.call('HGET', key('a', ARGV[i]), ARGV[i + 2])
  if stored then
    local fence, answer = string.match(stored, '^(%d+)|(.*)$')
    results[#results + 1] = { answer, fence }
  else
    results[#results + 1] = {}
  end
end
return results
