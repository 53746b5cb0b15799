-- What readers did. For each: sid, reader, subscription, change (`reading`, `renew`, `lost`, `detached`), and the
-- milliseconds for which the reader is awaited. A change other than `reading` counts only if the reader has the
-- same subscription; `*` stands for any.
local at = now()
for i = 1, #ARGV, 5 do
  local sid, reader, subscription, change, ms = unpack(ARGV, i, i + 4)
  local s, r = key('s', sid), key('r', sid)
  local stream = redis.call('HMGET', s, 'gid', 'ended', 'detached')
  if stream[1] and not stream[2] then
    local stored = redis.call('HGET', r, reader)
    local isOwn = subscription == '*' or (stored and string.match(stored, '|(.*)$') == subscription)
    if change == 'reading' then
      redis.call('HSET', r, reader, string.format('%d', at + ms) .. '|' .. subscription)
    elseif change == 'renew' and (isOwn or not stored) then
      redis.call('HSET', r, reader, string.format('%d', at + ms) .. '|' .. subscription)
    elseif isOwn and change == 'lost' then
      redis.call('HSET', r, reader, string.format('%d', at + ms) .. '|')
    elseif isOwn and change == 'detached' then
      redis.call('HDEL', r, reader)
      redis.call('HSET', r, '', string.format('%d', at + ms) .. '|')
    end
    redis.call('PEXPIRE', r, math.max(1, redis.call('PTTL', s)))
    set_due(sid, stream[1], stream[3] == '1', at)
  end
end
return 1
