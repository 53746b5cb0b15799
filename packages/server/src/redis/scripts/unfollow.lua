-- gid, node
return redis.call('SREM', key('f', ARGV[1]), ARGV[2])
