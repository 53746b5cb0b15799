-- The state of logs: head, fence, done, stop, attempt of each; head is -1 if there is no such log.
local results = {}
for i, gid in ipairs(ARGV) do
  local log = redis.call('HMGET', key('g', gid), 'head', 'fence', 'done', 'stop', 'attempt')
  results[i] = { log[1] or '-1', log[2] or '0', log[3] or '', log[4] or '', log[5] or '0' }
end
return results
