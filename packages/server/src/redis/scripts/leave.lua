-- A node leaves; others may claim at once what it owns: node, live
redis.call('ZADD', base .. ':n', 0, ARGV[1])
if redis.call('SCARD', key('o', ARGV[1])) == 0 then
  redis.call('ZREM', base .. ':n', ARGV[1])
end
redis.call('PEXPIRE', base .. ':n', ARGV[2])
return 1
