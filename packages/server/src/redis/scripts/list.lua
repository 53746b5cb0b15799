-- The running streams of a principal, oldest first, each as record, status, offset
local p = key('p', ARGV[1])
local results = {}
for _, sid in ipairs(redis.call('ZRANGE', p, 0, 255)) do
  local stream = redis.call('HMGET', key('s', sid), 'gid', 'record', 'ended')
  local log = stream[1] and redis.call('HMGET', key('g', stream[1]), 'status', 'head', 'done', 'paused')
  if log and log[1] and not log[3] and not stream[3] then
    results[#results + 1] = { stream[2], log[4] and 'paused' or log[1], log[2] }
  end
end
return results
