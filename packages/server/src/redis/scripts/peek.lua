-- sid -> gid, record, fingerprint, its own end (offset and entry); nothing if there is no such stream.
local stream = redis.call('HMGET', key('s', ARGV[1]), 'gid', 'record', 'fp', 'at', 'entry')
if not stream[1] or redis.call('EXISTS', key('g', stream[1])) == 0 then
  return {}
end
return { stream[1], stream[2], stream[3], stream[4] or '', stream[5] or '' }
