-- What readers did. For each: sid, reader, seat, change (`reading`, `renew`, `lost`, `detached`), milliseconds
-- it is waited for. A change other than `reading` counts only if the reader's seat is the same; `*` is any seat.
local at = now()
for i = 1, #ARGV, 5 do
  local sid, reader, seat, change, ms = unpack(ARGV, i, i + 4)
  local s, r = key('s', sid), key('r', sid)
  local stream = redis.call('HMGET', s, 'gid', 'ended')
  if stream[1] and not stream[2] then
    local stored = redis.call('HGET', r, reader)
    local isOwn = seat == '*' or (stored and string.match(stored, '|(.*)$') == seat)
    if change == 'reading' then
      redis.call('HSET', r, reader, string.format('%d', at + ms) .. '|' .. seat)
    elseif change == 'renew' and (isOwn or not stored) then
      redis.call('HSET', r, reader, string.format('%d', at + ms) .. '|' .. seat)
    elseif isOwn and change == 'lost' then
      redis.call('HSET', r, reader, string.format('%d', at + ms) .. '|')
    elseif isOwn and change == 'detached' then
      redis.call('HDEL', r, reader)
      redis.call('HSET', r, '', string.format('%d', at + ms) .. '|')
    end
    redis.call('PEXPIRE', r, math.max(1, redis.call('PTTL', s)))
    set_due(sid, at)
  end
end
return 1
