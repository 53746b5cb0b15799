-- A cached answer: key -> the answer, its principal, milliseconds to live; nothing if there is none.
local answer = redis.call('HMGET', key('c', ARGV[1]), 'a', 'p')
if not answer[1] then
  return {}
end
return { answer[1], answer[2], redis.call('PTTL', key('c', ARGV[1])) }
