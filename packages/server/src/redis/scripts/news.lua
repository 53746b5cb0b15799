-- The place in a queue, or a model that is being loaded: gid, fence, news, status
local gid, fence, news, status = unpack(ARGV)
local g = key('g', gid)
local log = redis.call('HMGET', g, 'fence', 'head', 'done')
if log[1] ~= fence or log[3] then
  return 0
end
redis.call('HSET', g, 'news', news, 'status', status)
tell_all(gid, false, '"news","' .. gid .. '",' .. news)
for _, sid in ipairs(redis.call('SMEMBERS', key('m', gid))) do
  local stream = redis.call('HMGET', key('s', sid), 'principal', 'record')
  if stream[1] then
    tell_watchers(stream[1], stream[2], status, log[2], '')
  end
end
return 1
