-- Ends and removes all streams of a principal: its hash, its id as JSON, entry, code, retention, live
local principal, id, entry, code = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local retention, live = tonumber(ARGV[5]), tonumber(ARGV[6])
local h = key('h', principal)
for _, sid in ipairs(redis.call('ZRANGE', h, 0, -1)) do
  local gid = redis.call('HGET', key('s', sid), 'gid')
  if gid then
    cancel(sid, entry, code, retention)
    redis.call('SREM', key('m', gid), sid)
    -- What other streams still read stays.
    if redis.call('SCARD', key('m', gid)) == 0 then
      end_log(gid, retention)
      for _, kind in ipairs({ 'g', 'l', 'm', 'f', 'a' }) do
        redis.call('DEL', key(kind, gid))
      end
      -- Its owner may not have heard of it, and would put the log back.
      redis.call('SET', key('x', gid), '1', 'PX', live)
    end
  end
  redis.call('DEL', key('s', sid), key('r', sid))
  redis.call('ZREM', base .. ':due', sid)
end
redis.call('DEL', h, key('p', principal))
for _, node in ipairs(redis.call('ZRANGE', base .. ':n', 0, -1)) do
  tell(node, '"forget",' .. id)
end
return 1
