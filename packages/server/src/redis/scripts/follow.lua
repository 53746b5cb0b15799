-- Adds a node to those that follow a log, and reads it from an offset in one step: gid, node, from, most bytes
local gid, node, from, most = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local log = redis.call('HMGET', key('g', gid), 'head', 'fence', 'node', 'done', 'attempt', 'news')
if not log[1] then
  return {}
end
-- A node that has left follows its own logs, which others claim.
if not log[4] and (log[3] ~= node or redis.call('ZSCORE', base .. ':n', node) == '0') then
  redis.call('SADD', key('f', gid), node)
  redis.call('PEXPIRE', key('f', gid), math.max(1, redis.call('PTTL', key('g', gid))))
end
local entries, bytes = {}, 0
if tonumber(from) >= tonumber(log[1]) then
  return { log[1], log[2], log[3], log[4] or '', log[5] or '0', log[6] or '', entries }
end
-- The item that covers the offset may begin before it: a log that was put back has other items.
local first = redis.call('XREVRANGE', key('l', gid), from .. '-1', '-', 'COUNT', 1)
local start = first[1] and first[1][1] or '-'
for _, item in ipairs(redis.call('XRANGE', key('l', gid), start, '+', 'COUNT', 200)) do
  entries[#entries + 1] = { string.match(item[1], '^(%d+)'), item[2][2] }
  bytes = bytes + #item[2][2]
  if bytes > most then
    break
  end
end
return { log[1], log[2], log[3], log[4] or '', log[5] or '0', log[6] or '', entries }
