-- The state of logs: head, fence, done, stop of each; head is -1 if there is no such log.
local results = {}
for i, gid in ipairs(ARGV) do
  local log = redis.call('HMGET', key('g', gid), 'head', 'fence', 'done', 'stop')
  results[i] = { log[1] or '-1', log[2] or '0', log[3] or '', log[4] or '' }
end
return results
