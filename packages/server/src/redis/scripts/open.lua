-- Opens a stream: gives the one that is there, joins a running generation, or begins a new one.
-- sid, principal, fingerprint, flight ('' for none), gid, node, request, record, live, due, most
local sid, principal, fingerprint, flight, gid, node, request, record = unpack(ARGV, 1, 8)
local live, due, most = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local s, p = key('s', sid), key('p', principal)

local known = redis.call('HMGET', s, 'fp', 'gid', 'record', 'at', 'entry')
if known[2] then
  if known[1] ~= fingerprint then
    return { 'conflict' }
  end
  if known[2] == gid then
    return { 'yours', redis.call('HGET', key('g', gid), 'fence') }
  end
  return { 'known', known[2], known[3], known[1], known[4] or '', known[5] or '' }
end
if redis.call('ZCARD', p) >= most then
  return { 'full' }
end

local at = now()
local shared = flight ~= '' and redis.call('GET', key('fl', flight))
if shared then
  local log = redis.call('HMGET', key('g', shared), 'head', 'done', 'stop', 'node', 'status')
  if log[1] and not log[2] and not log[3] then
    redis.call('HSET', s, 'fp', fingerprint, 'gid', shared, 'principal', principal, 'record', record)
    redis.call('SADD', key('m', shared), sid)
    tell(log[4], '"join","' .. shared .. '","' .. sid .. '","' .. fingerprint .. '",' .. record)
    tell_watchers(principal, record, log[5], log[1], '')
    gid = shared
  else
    shared = false
  end
end
if not shared then
  redis.call('HSET', s, 'fp', fingerprint, 'gid', gid, 'principal', principal, 'record', record)
  redis.call('HSET', key('g', gid), 'fence', 1, 'node', node, 'head', 0, 'attempt', 0, 'status', 'waiting')
  redis.call('PEXPIRE', key('g', gid), live)
  redis.call('SET', key('q', gid), request, 'PX', live)
  redis.call('SADD', key('m', gid), sid)
  redis.call('PEXPIRE', key('m', gid), live)
  redis.call('SADD', key('o', node), gid)
  redis.call('PEXPIRE', key('o', node), live)
  if flight ~= '' then
    redis.call('HSET', key('g', gid), 'flight', flight)
    redis.call('SET', key('fl', flight), gid, 'PX', live)
  end
  tell_watchers(principal, record, 'waiting', 0, '')
end
redis.call('PEXPIRE', s, live)
redis.call('ZADD', p, at, sid)
redis.call('PEXPIRE', p, live)
local h = key('h', principal)
-- Each start looks at two streams of the list: one that has expired is removed, one that exists moves to the end.
for _, old in ipairs(redis.call('ZRANGE', h, 0, 1)) do
  if redis.call('EXISTS', key('s', old)) == 1 then
    redis.call('ZADD', h, at, old)
  else
    redis.call('ZREM', h, old)
  end
end
redis.call('ZADD', h, at, sid)
redis.call('PEXPIRE', h, live)
redis.call('ZADD', base .. ':due', at + due, sid)
redis.call('PEXPIRE', base .. ':due', live)
if shared then
  return { 'join', gid }
end
return { 'yours', '1' }
