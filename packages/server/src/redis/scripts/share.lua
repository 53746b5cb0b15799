-- Lets a stream whose request was prepared share a running generation of the same request, which then takes the
-- place of its own. Without one, later streams may share its own.
-- sid, gid, fence, flight, live -> join and the gid that it shares; own
local sid, gid, fence, flight, live = unpack(ARGV)
local s, g = key('s', sid), key('g', gid)
local stream = redis.call('HMGET', s, 'gid', 'principal', 'record', 'fp')
if stream[1] and stream[1] ~= gid then
  -- The reply to an earlier call was lost.
  return { 'join', stream[1] }
end
local own = redis.call('HMGET', g, 'fence', 'head', 'stop')
if not stream[1] or own[1] ~= fence or own[2] ~= '0' or own[3] then
  return { 'own' }
end
local shared = redis.call('GET', key('fl', flight))
local log = shared and redis.call('HMGET', key('g', shared), 'head', 'done', 'stop', 'node', 'status', 'attempt')
-- A plain reader was told that the stream begins with the first attempt.
if not log or not log[1] or log[2] or log[3] or tonumber(log[6]) > 1 then
  redis.call('HSET', g, 'flight', flight)
  redis.call('SET', key('fl', flight), gid, 'PX', live)
  return { 'own' }
end
redis.call('HSET', s, 'gid', shared)
redis.call('SADD', key('m', shared), sid)
local joined = '"' .. shared .. '","' .. sid .. '","' .. stream[4] .. '",' .. stream[3]
tell(log[4], '"join",' .. joined)
tell_all(gid, false, '"move","' .. gid .. '","' .. sid .. '","' .. shared .. '"')
redis.call('SREM', key('o', redis.call('HGET', g, 'node')), gid)
for _, kind in ipairs({ 'g', 'l', 'q', 'm', 'f' }) do
  redis.call('DEL', key(kind, gid))
end
tell_watchers(stream[2], stream[3], log[5], log[1], '')
return { 'join', shared }
