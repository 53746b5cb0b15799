-- Replaces the request of a log, once it was prepared: gid, fence, request
if redis.call('HGET', key('g', ARGV[1]), 'fence') ~= ARGV[2] then
  return 0
end
redis.call('SET', key('q', ARGV[1]), ARGV[3], 'KEEPTTL', 'XX')
return 1
