-- Appends to logs, and tells the nodes that follow them. A log is written only by the owner with its fence,
-- and only at its head.
-- live, retention; then for each log: gid, fence, at, next, blob, status, attempt, code ('-' unless it ends)
local live, retention = tonumber(ARGV[1]), tonumber(ARGV[2])
local results, frames, order = {}, {}, {}

local function append(i)
  local gid, fence, at, next, blob, status, attempt, code = unpack(ARGV, i, i + 7)
  local g = key('g', gid)
  local log = redis.call('HMGET', g, 'fence', 'head', 'done', 'stop', 'status')
  if not log[1] then
    return 'gone'
  elseif log[1] ~= fence then
    return 'stale'
  elseif log[4] then
    return 'stop'
  elseif log[2] ~= at then
    return 'at:' .. log[2]
  elseif log[3] then
    return 'over'
  end
  redis.call('XADD', key('l', gid), at .. '-1', 'e', blob)
  redis.call('HSET', g, 'head', next, 'status', status, 'attempt', attempt)
  redis.call('HDEL', g, 'news')
  if at == '0' then
    redis.call('PEXPIRE', key('l', gid), live)
  end
  local frame = '["append","' .. gid .. '",' .. at .. ',' .. next .. ',' .. blob .. ']'
  for _, node in ipairs(redis.call('SMEMBERS', key('f', gid))) do
    if not frames[node] then
      frames[node] = {}
      order[#order + 1] = node
    end
    table.insert(frames[node], frame)
  end
  if code ~= '-' then
    redis.call('HSET', g, 'done', '1')
    for _, sid in ipairs(redis.call('SMEMBERS', key('m', gid))) do
      end_stream(sid, next, code, retention)
    end
    end_log(gid, retention)
  elseif status ~= log[5] then
    for _, sid in ipairs(redis.call('SMEMBERS', key('m', gid))) do
      local stream = redis.call('HMGET', key('s', sid), 'principal', 'record')
      if stream[1] then
        tell_watchers(stream[1], stream[2], status, next, '')
      end
    end
  end
  return 'ok'
end

for i = 3, #ARGV, 8 do
  results[#results + 1] = append(i)
end
for _, node in ipairs(order) do
  redis.call('PUBLISH', base .. ':in:' .. node, '[' .. table.concat(frames[node], ',') .. ']')
end
return results
