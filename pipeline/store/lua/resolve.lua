-- One batch of one source partition: look up, check and tie each event's identifiers, in order, in one go.
-- The algorithm, and why it is so, stands in pipeline/identity/graph.py; both give the same answers.
--
-- KEYS[1] links: hash, leaf id -> the link up from it: parent (16 characters), then big-endian received_at (6 bytes),
--   source offset (6 bytes), source (2 bytes, a number from `names`) of its earliest tie. No entry: a root.
--
-- KEYS[2] members: hash, root -> the identifiers of its set, one after the other: namespace (2 bytes, a number from
--   `names`), leaf id (16 characters), length of the value (3 bytes), value. The length is 0 and the value left out
--   where the namespace isn't unique. No entry: the root was never tied.
--
-- KEYS[3] logins: sorted set, all scores 0, so in order of text: device's leaf id (16 characters), time (13 digits),
--   user's leaf id (16 characters), user's namespace, zero byte, user's value. Only of public devices.
--
-- KEYS[4] positions: hash, source -> where it stands (opaque); source#token -> names its last batch; source#skip -> an
--   operator's word (opaque); #high -> largest received_at of all sources; #shared -> number of hand-overs of devices
--   ever recorded; #home -> which Kafka all this belongs to (ports.Home).
--
-- KEYS[5] names: hash, namespace or source -> its number. Numbers are given once and stay.
--
-- ARGV: source, expected token, new token, position's bytes, its high, namespaces (msgpack: name -> [unique, device,
--   limit or -1]), persons in a household at the most, asks (msgpack: [[offset, occurred_at, received_at, [namespace, value, leaf, ...]], ...]).
--
-- Returns {"ok", msgpack of [answers, shared, high]}, {"rejected", token} or {"broken", what}. An answer is false where
-- one identifier alone was asked for, and no tie is known: it leads to itself. Types are looked at first, and nearly all
-- is written at the end: a script that fails half-way keeps what it wrote.

local call, pack, unpack_bytes, sub = redis.call, struct.pack, struct.unpack, string.sub
local links, members, logins, positions, names = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local source = ARGV[1]
local LAST_MS = 9999999999999

local wanted = {hash = {links, members, positions, names}, zset = {logins}}
for kind, keys in pairs(wanted) do
  for _, key in ipairs(keys) do
    local found = call('TYPE', key).ok
    if found ~= kind and found ~= 'none' then
      return {'broken', key .. ' is a ' .. found .. ', not a ' .. kind}
    end
  end
end

local stored = call('HGET', positions, source .. '#token')
if not stored or (stored ~= ARGV[2] and stored ~= ARGV[3]) then
  return {'rejected', stored or ''}
end
local asks = cmsgpack.unpack(ARGV[8])
local household = tonumber(ARGV[7])
local flags = cmsgpack.unpack(ARGV[6])

local was = call('HMGET', positions, '#high', '#shared')
local high = math.max(tonumber(was[1] or 0), tonumber(ARGV[5]))
local shared = tonumber(was[2] or 0)
-- Names and numbers.

local number_of, name_of, named = {}, {}, 0
local pairs_of_names = call('HGETALL', names)
for i = 1, #pairs_of_names, 2 do
  local number = tonumber(pairs_of_names[i + 1])
  number_of[pairs_of_names[i]], name_of[number] = number, pairs_of_names[i]
  named = named + 1
end
local function number(name)
  local found = number_of[name]
  if not found then
    found = named
    named = named + 1
    number_of[name], name_of[found] = found, name
    call('HSET', names, name, found)
  end
  return found
end

local PLAIN = {false, false, -1}
local function flags_of(name)
  return flags[name] or PLAIN
end
local source_number = number(source)

-- The one event at hand.

local offset, received_at, at
local youngest, merges, told

local function tell(loser, winner)
  if not told[loser] then
    told[loser] = true
    merges[#merges + 1] = loser
    merges[#merges + 1] = winner
  end
end

-- Links and members as they are by now; what changed is written at the end. False: there is none. Those of the leaves of
-- the batch are read in a few calls.
local AT_ONCE = 4000
local known, sets, changed_links, changed_sets = {}, {}, {}, {}
do
  local function fill(table, key, fields)
    for start = 1, #fields, AT_ONCE do
      local last = math.min(start + AT_ONCE - 1, #fields)
      for i, found in ipairs(call('HMGET', key, unpack(fields, start, last))) do
        table[fields[start + i - 1]] = found
      end
    end
  end
  local leaves, tied = {}, {}
  for _, ask in ipairs(asks) do
    local ids = ask[4]
    for i = 3, #ids, 3 do
      local leaf = ids[i]
      if known[leaf] == nil then
        known[leaf] = false
        leaves[#leaves + 1] = leaf
      end
      if #ids > 3 and sets[leaf] == nil then
        sets[leaf] = false
        tied[#tied + 1] = leaf
      end
    end
  end
  fill(known, links, leaves)
  fill(sets, members, tied)
end

local function link_of(leaf)
  local link = known[leaf]
  if link == nil then
    link = call('HGET', links, leaf)
    known[leaf] = link
  end
  return link
end

local function set_of(root)
  local set = sets[root]
  if set == nil then
    set = call('HGET', members, root)
    sets[root] = set
  end
  return set
end

-- False: there is none any more.
local function put_set(root, set)
  sets[root] = set
  changed_sets[root] = true
end

local function write(key, table, changed)
  local fields, gone = {}, {}
  for field in pairs(changed) do
    if table[field] then
      fields[#fields + 1] = field
      fields[#fields + 1] = table[field]
    else
      gone[#gone + 1] = field
    end
  end
  for start = 1, #fields, AT_ONCE do
    call('HSET', key, unpack(fields, start, math.min(start + AT_ONCE - 1, #fields)))
  end
  for start = 1, #gone, AT_ONCE do
    call('HDEL', key, unpack(gone, start, math.min(start + AT_ONCE - 1, #gone)))
  end
end

-- Root, nodes whose links were taken (from the leaf up).
local function walk(leaf)
  local path = {}
  while true do
    local link = link_of(leaf)
    if not link then
      return leaf, path
    end
    local tied_at, tied_offset, tied_source = unpack_bytes('>I6I6I2', link, 17)
    path[#path + 1] = leaf
    if tied_at > youngest then
      youngest = tied_at
    end
    local parent = sub(link, 1, 16)
    if received_at < tied_at or (tied_source == source_number and offset <= tied_offset) then
      tell(leaf, parent)
    end
    leaf = parent
  end
end

local function set_link(loser, winner)
  known[loser] = winner .. pack('>I6I6I2', received_at, offset, source_number)
  changed_links[loser] = true
end

-- Whether leaf id a sorts before b. Lua's own `<` asks the server's locale, which may sort "aa" or "ch" elsewhere.
local function before(a, b)
  for i = 1, 16 do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then
      return x < y
    end
  end
  return false
end

-- A link keeps its earliest tie, where just one of those between the two is younger than this tie.
local function tied_earlier(path, way)
  local seen, younger, count = {}, nil, 0
  for _, nodes in ipairs({path, way}) do
    for _, node in ipairs(nodes) do
      seen[node] = (seen[node] or 0) + 1
    end
  end
  for node, times in pairs(seen) do
    if times == 1 and unpack_bytes('>I6', link_of(node), 17) > received_at then
      younger, count = node, count + 1
    end
  end
  if count == 1 then
    set_link(younger, sub(link_of(younger), 1, 16))
  end
end

local function member(namespace, value, leaf)
  if not flags_of(namespace)[1] then
    value = ''
  end
  return pack('>I2c16I3', number(namespace), leaf, #value) .. value
end

local function members_of(root, namespace, value, leaf)
  local stored_members = set_of(root)
  return stored_members or member(namespace, value, leaf), stored_members
end

local function next_member(set, i)
  local namespace, leaf, length = unpack_bytes('>I2c16I3', set, i)
  return i + 21 + length, namespace, leaf, sub(set, i + 21, i + 20 + length)
end

-- How many there are of each namespace of a set (by number), and how many persons at the least.
local function counts_of(set)
  local counts, persons, i, namespace = {}, 0, 1, nil
  while i <= #set do
    i, namespace = next_member(set, i)
    counts[namespace] = (counts[namespace] or 0) + 1
    if counts[namespace] > persons and flags_of(name_of[namespace])[1] then
      persons = counts[namespace]
    end
  end
  return counts, persons
end

-- Why two sets stay two: nil, 'unique', 'limit' or 'public'.
local function clash(ours, theirs, login)
  local mine, persons = counts_of(ours)
  local others, their_persons = counts_of(theirs)
  local together, both, certain = math.max(persons, their_persons), false, false
  for namespace, count in pairs(others) do
    if flags_of(name_of[namespace])[1] and mine[namespace] then
      both = true
      certain = certain or (mine[namespace] == persons and count == their_persons)
      together = math.max(together, mine[namespace] + count)
    end
  end
  if both then
    if not login and certain then
      return 'unique'
    end
    if together > household then
      return login and 'public' or 'unique'
    end
  end
  for namespace, count in pairs(others) do
    local limit = flags_of(name_of[namespace])[3]
    if limit >= 0 and (mine[namespace] or 0) + count > limit * math.max(together, 1) then
      return 'limit'
    end
  end
end

-- The first login on a public device, else nil.
local function first_login(device)
  if shared > 0 then
    return call('ZRANGE', logins, '[' .. device, '[' .. device .. '~', 'BYLEX', 'LIMIT', 0, 1)[1]
  end
end

-- Leaf, namespace, value, login time of whose the device was at `at`. "~" sorts after every leaf id: a login at `at`
-- counts.
local function owner(device, first)
  local latest = '[' .. device .. string.format('%013d', at) .. '~'
  local login = call('ZRANGE', logins, latest, '[' .. device, 'BYLEX', 'REV', 'LIMIT', 0, 1)[1] or first
  local zero = string.find(login, '\0', 46, true)
  return sub(login, 30, 45), sub(login, 46, zero - 1), sub(login, zero + 1), tonumber(sub(login, 17, 29))
end

local function hand_over(device, leaf, namespace, value)
  if call('ZADD', logins, 0, device .. string.format('%013d', at) .. leaf .. namespace .. '\0' .. value) == 1 then
    shared = shared + 1
    call('HSET', positions, '#shared', shared)
  end
end

-- A login on a public device is kept where it says something new: another owner, or that it was the first of all.
local function log_in(device, first, leaf, namespace, value)
  local owner_leaf, _, _, since = owner(device, first)
  if owner_leaf ~= leaf then
    hand_over(device, leaf, namespace, value)
  elseif at < since then
    call('ZADD', logins, 0, device .. string.format('%013d', at) .. leaf .. namespace .. '\0' .. value)
  end
end

local function resolve(ids)
  local namespace, value, leaf = ids[1], ids[2], ids[3]
  local first = flags_of(namespace)[2] and first_login(leaf)
  if first then
    local user_leaf, user_namespace, user_value = owner(leaf, first)
    local root = walk(user_leaf)
    for i = 3, #ids, 3 do
      walk(ids[i])
    end
    return {root, {user_namespace, user_value}, youngest, false, {}, merges}
  end

  local root, path = walk(leaf)
  local accepted, refused, cacheable = {namespace, value}, {}, true
  local user -- where the strongest unique identifier stands in ids
  for i = 1, #ids, 3 do
    if flags_of(ids[i])[1] then
      user = i
      break
    end
  end
  for i = 4, #ids, 3 do
    local its_namespace, its_value, its_leaf = ids[i], ids[i + 1], ids[i + 2]
    local device = flags_of(its_namespace)[2]
    local public = device and first_login(its_leaf)
    local other, way = walk(its_leaf)
    if public then
      cacheable = false
      if user and other ~= root then
        log_in(its_leaf, public, ids[user + 2], ids[user], ids[user + 1])
      elseif user then
        log_in(its_leaf, public, its_leaf, its_namespace, its_value)
      end
    end
    local accept = false
    if other == root then
      if youngest > received_at then
        tied_earlier(path, way)
      end
      accept = true
    elseif not public then
      local ours, ours_stored = members_of(root, namespace, value, leaf)
      local theirs, theirs_stored = members_of(other, its_namespace, its_value, its_leaf)
      local why
      if ours_stored or theirs_stored or namespace == its_namespace then
        why = clash(ours, theirs, device and user)
      end
      if why == 'public' then
        cacheable = false
        call('ZADD', logins, 0, its_leaf .. string.format('%013d', 0) .. its_leaf .. its_namespace .. '\0' .. its_value)
        hand_over(its_leaf, ids[user + 2], ids[user], ids[user + 1])
      elseif why then
        refused[#refused + 1] = its_namespace
        refused[#refused + 1] = its_value
        refused[#refused + 1] = why
      else
        local winner, loser, loser_stored = root, other, theirs_stored
        if before(other, root) then
          winner, loser, loser_stored = other, root, ours_stored
          ours, theirs = theirs, ours
          path[#path + 1] = root
        end
        put_set(winner, ours .. theirs)
        if loser_stored then
          put_set(loser, false)
        end
        set_link(loser, winner)
        tell(loser, winner)
        if received_at > youngest then
          youngest = received_at
        end
        root = winner
        accept = true
      end
    end
    if accept then
      accepted[#accepted + 1] = its_namespace
      accepted[#accepted + 1] = its_value
    end
  end
  return {root, accepted, youngest, cacheable, refused, merges}
end

local answers = {}
for i, ask in ipairs(asks) do
  local ids = ask[4]
  if #ids == 3 and not link_of(ids[3]) and not (flags_of(ids[1])[2] and first_login(ids[3])) then
    answers[i] = false
  else
    offset, received_at = ask[1], ask[3]
    at = math.min(math.max(ask[2], 0), LAST_MS)
    youngest, merges, told = 0, {}, {}
    answers[i] = resolve(ids)
  end
end
write(links, known, changed_links)
write(members, sets, changed_sets)
call('HSET', positions, source, ARGV[4], source .. '#token', ARGV[3], '#high', string.format('%d', high))
return {'ok', cmsgpack.pack({answers, shared, high})}
