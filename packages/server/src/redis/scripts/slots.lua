-- Slots of a provider, and places in the queue for them. The rules are those of `Queue` in upstream/queue.ts.
-- pool, node, lease, live, slots, most that wait, list (`own`, `all` or ''); then for each change:
-- change (`join`, `keep`, `flags`, `leave`), id, principal, flags (`u`: under way, `p`: preemptible), state, place
-- -> the result of each change; then the tickets of the node or of all: id, state, place, node, principal, flags,
-- the turn of its principal
local pool, node, list = ARGV[1], ARGV[2], ARGV[7]
local lease, live, slots, most = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local q = key('sl', pool)
local at = now()

-- Fields: `#` counts places, `!node` is the end of its lease, `@principal` is its turn: the place when it began to
-- wait, or when the number of its slots has changed since. `=id` is a ticket. States: `r` holds a slot, `w` waits. The flag `x`: it was told to end.
local last = 0
local tickets, turns, leases = {}, {}, {}
local touched = {}

local function put(id)
  local t = tickets[id]
  redis.call('HSET', q, '=' .. id, table.concat({ t.state, t.place, t.node, t.principal, t.flags }, '|'))
end

local function has(t, flag)
  return string.find(t.flags, flag, 1, true) ~= nil
end

local function next_place()
  last = last + 1
  return string.format('%d', last)
end

local function note_change(principal)
  turns[principal] = next_place()
  touched[principal] = true
end

local function remove(id)
  local t = tickets[id]
  tickets[id] = nil
  redis.call('HDEL', q, '=' .. id)
  touched[t.principal] = true
  if t.state == 'r' then
    note_change(t.principal)
  end
end

local function say(id, word)
  redis.call('PUBLISH', base .. ':in:' .. tickets[id].node, word .. ':' .. id)
end

local function count(wanted)
  local n = 0
  for _, t in pairs(tickets) do
    if wanted(t) then
      n = n + 1
    end
  end
  return n
end

local function runs(t)
  return t.state == 'r'
end

local function waits(t)
  return t.state == 'w'
end

local function is_wanted(t)
  return t.state == 'w' and not has(t, 'p')
end

-- Tickets that match, in the order of their places.
local function sorted(wanted)
  local ids = {}
  for id, t in pairs(tickets) do
    if wanted(t) then
      ids[#ids + 1] = id
    end
  end
  table.sort(ids, function(a, b)
    return tonumber(tickets[a].place) < tonumber(tickets[b].place)
  end)
  return ids
end

-- Gives a principal its turn that has nothing else waiting.
local function begin_waiting(id)
  local own = tickets[id]
  if has(own, 'u') then
    return
  end
  for other, t in pairs(tickets) do
    if other ~= id and t.state == 'w' and t.principal == own.principal and not has(t, 'u') then
      return
    end
  end
  turns[own.principal] = own.place
  touched[own.principal] = true
end

local function acquire(id)
  local t = tickets[id]
  t.state = 'r'
  t.place = next_place()
  note_change(t.principal)
  put(id)
end

-- The next that waits: under way, then of the principal with the fewest slots, then preemptible.
local function first_waiting()
  local held = {}
  for _, t in pairs(tickets) do
    if t.state == 'r' then
      held[t.principal] = (held[t.principal] or 0) + 1
    end
  end
  local best, rank
  for id, t in pairs(tickets) do
    if t.state == 'w' then
      local mine = { 2, 0, 0, tonumber(t.place) }
      if has(t, 'p') then
        mine[1] = 3
      elseif has(t, 'u') then
        mine[1] = 1
      else
        mine[2] = held[t.principal] or 0
        mine[3] = tonumber(turns[t.principal] or 0)
      end
      local isFirst = best == nil
      for i = 1, 4 do
        if isFirst or mine[i] > rank[i] then
          break
        end
        isFirst = mine[i] < rank[i]
      end
      if isFirst then
        best, rank = id, mine
      end
    end
  end
  return best
end

local joined = {}

local function grant()
  local running, waiting = count(runs), count(waits)
  while running < slots and waiting > 0 do
    local id = first_waiting()
    acquire(id)
    running, waiting = running + 1, waiting - 1
    if not joined[id] then
      say(id, 'granted')
    end
  end
end

-- Ends preemptible tickets that hold slots, one for each that waits and is not preemptible.
local function preempt()
  local ending = count(function(t)
    return t.state == 'r' and has(t, 'x')
  end)
  local wanted = count(is_wanted)
  if ending >= wanted then
    return
  end
  for _, id in ipairs(sorted(function(t)
    return t.state == 'r' and has(t, 'p') and not has(t, 'x')
  end)) do
    if ending >= wanted then
      return
    end
    tickets[id].flags = tickets[id].flags .. 'x'
    put(id)
    say(id, 'preempt')
    ending = ending + 1
  end
end

-- The owner of places: a principal without its turn, which follows a dot.
local function owner_of(principal)
  return string.match(principal, '^[^.]*')
end

-- Whether one more of the principal may wait. Preemptible ones that wait are ended as far as it needs their places.
local function make_room(principal)
  local owner = owner_of(principal)
  local function is_own(t)
    return t.state == 'w' and not has(t, 'u') and owner_of(t.principal) == owner
  end
  local function fits()
    return count(is_own) < most - count(waits)
  end
  if fits() then
    return 'ok'
  end
  local own = count(function(t)
    return is_own(t) and not has(t, 'p')
  end)
  local free = most - count(is_wanted)
  if free <= 0 then
    return 'full'
  elseif own >= free then
    return 'own:' .. own
  end
  for _, isOwn in ipairs({ true, false }) do
    for _, id in ipairs(sorted(function(t)
      return t.state == 'w' and has(t, 'p') and (owner_of(t.principal) == owner) == isOwn
    end)) do
      if fits() then
        return 'ok'
      end
      say(id, 'preempt')
      remove(id)
    end
  end
  return 'ok'
end

local fields = redis.call('HGETALL', q)
for i = 1, #fields, 2 do
  local kind, name, value = string.sub(fields[i], 1, 1), string.sub(fields[i], 2), fields[i + 1]
  if kind == '#' then
    last = tonumber(value)
  elseif kind == '!' then
    leases[name] = tonumber(value)
  elseif kind == '@' then
    turns[name] = value
  else
    local state, place, owner, principal, flags = string.match(value, '^(%a)|(%d+)|([^|]*)|([^|]*)|(%a*)$')
    tickets[name] = { state = state, place = place, node = owner, principal = principal, flags = flags }
  end
end

leases[node] = at + lease
redis.call('HSET', q, '!' .. node, string.format('%d', at + lease))
for owner, expiry in pairs(leases) do
  if expiry <= at then
    redis.call('HDEL', q, '!' .. owner)
    leases[owner] = nil
  end
end
for id, t in pairs(tickets) do
  if not leases[t.node] then
    remove(id)
  end
end
grant()

local results = {}
for i = 8, #ARGV, 6 do
  local change, id, principal, flags, state, place = unpack(ARGV, i, i + 5)
  local t = tickets[id]
  local result = ''
  if change == 'leave' then
    if t then
      remove(id)
      grant()
    end
  elseif change == 'flags' then
    if t then
      t.flags = flags
      put(id)
    end
  elseif change == 'keep' then
    -- A ticket of a process that Redis has not heard of for a while.
    if not t or state == 'r' then
      tickets[id] = { state = state, place = place ~= '' and place or next_place(), node = node, principal = principal, flags = flags }
      last = math.max(last, tonumber(tickets[id].place))
      if state == 'w' then
        begin_waiting(id)
      else
        note_change(principal)
      end
      put(id)
    end
    joined[id] = true
  elseif not t then
    local hasSlot = count(runs) < slots
    local room = (hasSlot or string.find(flags, 'u', 1, true)) and 'ok' or make_room(principal)
    if room == 'ok' then
      tickets[id] = { state = 'w', place = next_place(), node = node, principal = principal, flags = flags }
      if hasSlot then
        acquire(id)
      else
        begin_waiting(id)
        put(id)
      end
    else
      result = room
    end
    joined[id] = true
  end
  results[#results + 1] = result
end
grant()
preempt()

local i = 0
for at_change = 8, #ARGV, 6 do
  i = i + 1
  local t = tickets[ARGV[at_change + 1]]
  if t and joined[ARGV[at_change + 1]] and results[i] == '' then
    results[i] = t.state .. ':' .. t.place
  end
end

redis.call('HSET', q, '#', string.format('%d', last))
if next(touched) then
  local present = {}
  for _, t in pairs(tickets) do
    present[t.principal] = true
  end
  for principal in pairs(touched) do
    if not present[principal] then
      redis.call('HDEL', q, '@' .. principal)
    elseif turns[principal] then
      redis.call('HSET', q, '@' .. principal, turns[principal])
    end
  end
end
redis.call('PEXPIRE', q, live)

local listed = {}
if list ~= '' then
  for id, t in pairs(tickets) do
    if list == 'all' or t.node == node then
      listed[#listed + 1] = { id, t.state, t.place, t.node, t.principal, t.flags, turns[t.principal] or '0' }
    end
  end
end
return { results, listed }
