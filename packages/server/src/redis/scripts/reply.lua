-- Stores a client's reply to a call that waits, and sends it to the owner of the log. The first one counts. An empty
-- reply says that the time of the call is over; only the owner sends it.
-- gid, call, reply as JSON, fence of the owner or '', over (`1` if the call has its result) -> ok; conflict and the
-- reply that counts; gone; stale
local gid, call, reply, fence, over = unpack(ARGV)
local g, a = key('g', gid), key('a', gid)
local log = redis.call('HMGET', g, 'fence', 'node', 'done', 'stop')
if not log[1] then
  return { 'gone' }
elseif fence ~= '' and fence ~= log[1] then
  return { 'stale' }
end
local stored = redis.call('HGET', a, call)
local known = stored and string.match(stored, '^%d+|(.*)$')
if known == reply then
  return { 'ok' }
elseif known or over == '1' or log[3] or log[4] then
  return { 'conflict', known or '' }
end
-- The fence tells the owner that was told from a later one.
redis.call('HSET', a, call, log[1] .. '|' .. reply)
redis.call('PEXPIRE', a, math.max(1, redis.call('PTTL', g)))
if reply ~= '' then
  tell(log[2], '"reply","' .. gid .. '","' .. call .. '",' .. reply)
end
return { 'ok' }
