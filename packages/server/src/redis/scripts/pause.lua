-- Whether a generation waits for a client to answer a call: gid, fence, paused (`1` or ''), status, ms
-- A paused stream does not end for lack of readers. Afterwards its readers are awaited for `ms`.
local gid, fence, paused, status, ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local g, due = key('g', gid), base .. ':due'
local log = redis.call('HMGET', g, 'fence', 'head', 'done', 'stop')
if log[1] ~= fence or log[3] or log[4] then
  return 0
end
if paused == '1' then
  redis.call('HSET', g, 'paused', '1')
else
  redis.call('HDEL', g, 'paused')
end
local at = now()
for _, sid in ipairs(redis.call('SMEMBERS', key('m', gid))) do
  local stream = redis.call('HMGET', key('s', sid), 'principal', 'record')
  local until_ms = redis.call('ZSCORE', due, sid)
  if paused == '' and until_ms and tonumber(until_ms) < at + ms then
    redis.call('ZADD', due, at + ms, sid)
  end
  if stream[1] then
    tell_watchers(stream[1], stream[2], status, log[2], '')
  end
end
return 1
