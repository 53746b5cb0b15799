-- Puts back a log that Redis has lost; its owner then appends the text again. A log that was removed because its
-- principal is forgotten is not put back.
-- gid, fence, node, request, attempt, live, due; then for each stream: sid, principal, fingerprint, record
local gid, fence, node, request, attempt = unpack(ARGV, 1, 5)
local live, due = tonumber(ARGV[6]), tonumber(ARGV[7])
local g = key('g', gid)
if redis.call('EXISTS', key('x', gid)) == 1 then
  return { 'removed' }
end
local before = redis.call('HGET', g, 'fence')
if before then
  return { 'there', before }
end
local at, count = now(), 0
for i = 8, #ARGV, 4 do
  local sid, principal, fingerprint, record = unpack(ARGV, i, i + 3)
  local s = key('s', sid)
  if redis.call('EXISTS', s) == 0 then
    count = count + 1
    redis.call('HSET', s, 'fp', fingerprint, 'gid', gid, 'principal', principal, 'record', record)
    redis.call('PEXPIRE', s, live)
    redis.call('SADD', key('m', gid), sid)
    redis.call('ZADD', key('p', principal), at, sid)
    redis.call('PEXPIRE', key('p', principal), live)
    redis.call('ZADD', key('h', principal), at, sid)
    redis.call('PEXPIRE', key('h', principal), live)
    redis.call('ZADD', base .. ':due', at + due, sid)
  end
end
if count == 0 then
  return { 'taken' }
end
redis.call('PEXPIRE', base .. ':due', live)
redis.call('PEXPIRE', key('m', gid), live)
redis.call('HSET', g, 'fence', fence, 'node', node, 'head', 0, 'attempt', attempt, 'status', 'waiting')
redis.call('PEXPIRE', g, live)
redis.call('SET', key('q', gid), request, 'PX', live)
redis.call('SADD', key('o', node), gid)
redis.call('PEXPIRE', key('o', node), live)
return { 'adopted' }
