-- Precedes every script. KEYS[1] is what all keys begin with; it has a hash tag, so that they share a slot.
local base = KEYS[1]

local function key(kind, name)
  return base .. ':' .. kind .. ':' .. name
end

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Tells a node something. `message` is a list as JSON, without its brackets.
local function tell(node, message)
  return redis.call('PUBLISH', base .. ':in:' .. node, '[[' .. message .. ']]')
end

-- Tells the owner of a log and the nodes that follow it. A node that nobody reaches is followed no more.
local function tell_all(gid, owner, message)
  if owner then
    tell(owner, message)
  end
  for _, node in ipairs(redis.call('SMEMBERS', key('f', gid))) do
    if node ~= owner and tell(node, message) == 0 then
      redis.call('SREM', key('f', gid), node)
    end
  end
end

-- Tells the nodes that watch the streams of a principal. `record` names the stream, as JSON.
local function tell_watchers(principal, record, status, offset, code)
  local changed = '{"status":"' .. status .. '","offset":' .. offset .. ',"code":"' .. code .. '","record":' .. record .. '}'
  redis.call('PUBLISH', base .. ':pc:' .. principal, changed)
end

-- Marks a stream as ended. `at` and `entry` are given if it has an end of its own.
local function end_stream(sid, offset, code, retention, at, entry)
  local s = key('s', sid)
  local stream = redis.call('HMGET', s, 'principal', 'record')
  if not stream[1] then
    return
  end
  redis.call('HSET', s, 'ended', '1', 'code', code)
  if at then
    redis.call('HSET', s, 'at', at, 'entry', entry)
  end
  redis.call('PEXPIRE', s, retention)
  redis.call('ZREM', base .. ':due', sid)
  redis.call('ZREM', key('p', stream[1]), sid)
  local h = key('h', stream[1])
  if redis.call('PTTL', h) < retention then
    redis.call('PEXPIRE', h, retention)
  end
  redis.call('DEL', key('r', sid))
  tell_watchers(stream[1], stream[2], 'ended', offset, code)
end

-- Removes what only a running generation needs.
local function end_log(gid, retention)
  local g = key('g', gid)
  local log = redis.call('HMGET', g, 'node', 'flight')
  redis.call('DEL', key('q', gid))
  if log[1] then
    redis.call('SREM', key('o', log[1]), gid)
  end
  if log[2] and redis.call('GET', key('fl', log[2])) == gid then
    redis.call('DEL', key('fl', log[2]))
  end
  for _, kind in ipairs({ 'g', 'l', 'm', 'f', 'a' }) do
    redis.call('PEXPIRE', key(kind, gid), retention)
  end
end

-- Ends one stream of a log with `entry`. The last one stops the generation.
local function cancel(sid, entry, code, retention)
  local s = key('s', sid)
  local stream = redis.call('HMGET', s, 'gid', 'ended')
  local gid = stream[1]
  if not gid then
    return { 'gone' }
  end
  if stream[2] then
    return { 'over' }
  end
  local g = key('g', gid)
  local log = redis.call('HMGET', g, 'head', 'node', 'done')
  if not log[1] or log[3] then
    return { 'over' }
  end
  local head = log[1]
  local isLast = redis.call('SCARD', key('m', gid)) <= 1
  redis.call('SREM', key('m', gid), sid)
  end_stream(sid, head, code, retention, head, entry)
  tell_all(gid, log[2], '"end","' .. gid .. '","' .. sid .. '",' .. head .. ',' .. entry)
  if isLast then
    redis.call('HSET', g, 'stop', '1')
    end_log(gid, retention)
    tell(log[2], '"stop","' .. gid .. '",' .. entry)
  end
  return { 'ended', head }
end

-- The time until which a stream is waited for: that of its last reader. The field '' of its readers is there while
-- one has said that it left. Tells the owner when all have, and when one reads again.
local function set_due(sid, gid, was_detached, at)
  local r = key('r', sid)
  local latest = 0
  local has_left, has_others = false, false
  local fields = redis.call('HGETALL', r)
  for i = 1, #fields, 2 do
    local untilMs = tonumber(string.match(fields[i + 1], '^(%d+)'))
    if untilMs > latest then
      latest = untilMs
    end
    if untilMs <= at then
      redis.call('HDEL', r, fields[i])
    elseif fields[i] == '' then
      has_left = true
    else
      has_others = true
    end
  end
  local is_detached = has_left and not has_others
  if is_detached ~= was_detached then
    redis.call('HSET', key('s', sid), 'detached', is_detached and '1' or '0')
    local owner = redis.call('HGET', key('g', gid), 'node')
    if owner then
      tell(owner, '"detached","' .. gid .. '","' .. sid .. '",' .. tostring(is_detached))
    end
  end
  -- Without any reader it stays: what a reader did before may be lost.
  if latest > 0 then
    redis.call('ZADD', base .. ':due', latest, sid)
  end
end

local function reap(entry, code, retention, at)
  for _, sid in ipairs(redis.call('ZRANGEBYSCORE', base .. ':due', '-inf', at, 'LIMIT', 0, 50)) do
    local gid = redis.call('HGET', key('s', sid), 'gid')
    if gid and redis.call('HGET', key('g', gid), 'paused') then
      -- A paused stream is looked at again in 5 s.
      redis.call('ZADD', base .. ':due', at + 5000, sid)
    elseif cancel(sid, entry, code, retention)[1] ~= 'ended' then
      redis.call('ZREM', base .. ':due', sid)
    end
  end
end

-- Removes a cached answer; `member` of the index is `size:key`.
local function drop_cached(member)
  local size, name = string.match(member, '^(%d+):(.*)$')
  if redis.call('ZREM', base .. ':ci', member) == 1 then
    redis.call('DECRBY', base .. ':cb', size)
  end
  redis.call('DEL', key('c', name))
end
