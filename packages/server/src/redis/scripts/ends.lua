-- The ends that streams have apart from the end of their log: offset, entry of each; both are empty without one.
local results = {}
for i, sid in ipairs(ARGV) do
  local stream = redis.call('HMGET', key('s', sid), 'at', 'entry')
  results[i] = { stream[1] or '', stream[2] or '' }
end
return results
