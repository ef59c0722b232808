-- One commit of one partition of the second hop: all or nothing, and twice is once.
--
-- KEYS[1] meta: hash. `fence`: raised by each owner that takes the partition over. `token`: names the last commit.
--   `head`, `tail`: numbers of the first entry in the outbox and of the next one to come. `meta`: the owner's own bytes.
--
-- KEYS[2] states: hash, profile id -> the profile's bytes.
--
-- KEYS[3] timers: sorted set, profile id by the earliest time (ms) at which something is due in it.
--
-- KEYS[4] outbox: list of entries that are committed, but perhaps not yet published. Numbered head to tail - 1.
--
-- ARGV: fence, expected token, new token, meta, number of the first new entry, number below which entries go, index,
--   bytes. Two long arguments cost both sides less than thousands of short ones. The index is msgpack of [ids of states,
--   ids of states to delete, timers [due, id, ...], ids of timers to remove, lengths]; the bytes are those of the
--   states, then of the new entries, with these lengths.
--
-- Returns {"ok"}, {"fenced", fence}, {"rejected", token, head, tail} or {"broken", what}. A script that fails half-way
-- keeps what it wrote, so everything that can fail is looked at before the first write; and that one needs memory:
-- where there is none left, Redis refuses it and nothing has happened.

local call = redis.call
local meta, states, timers, outbox = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

for key, wanted in pairs({[meta] = 'hash', [states] = 'hash', [timers] = 'zset', [outbox] = 'list'}) do
  local found = call('TYPE', key).ok
  if found ~= wanted and found ~= 'none' then
    return {'broken', key .. ' is a ' .. found .. ', not a ' .. wanted}
  end
end

local stored = call('HMGET', meta, 'fence', 'token', 'head', 'tail')
local fence, token = tonumber(stored[1] or 0), stored[2] or ''
local head, tail = tonumber(stored[3] or 0), tonumber(stored[4] or 0)
if not (fence and head and tail) or call('LLEN', outbox) ~= tail - head then
  return {'broken', meta .. ' does not fit ' .. outbox}
end

if fence > tonumber(ARGV[1]) then
  return {'fenced', fence}
end
if token == ARGV[3] then
  return {'ok'}
end
local first, trim = tonumber(ARGV[5]), tonumber(ARGV[6])
local index, bytes = cmsgpack.unpack(ARGV[7]), ARGV[8]
local ids, lengths = index[1], index[5]
local added = #lengths - #ids
if token ~= ARGV[2] or first ~= tail or trim > tail + added then
  return {'rejected', token, head, tail}
end

tail = tail + added
call('HSET', meta, 'fence', ARGV[1], 'token', ARGV[3], 'meta', ARGV[4], 'tail', tail, 'head', math.max(head, trim))

-- A Lua call takes some 8,000 arguments at most.
local function each(command, key, arguments)
  for start = 1, #arguments, 4000 do
    call(command, key, unpack(arguments, start, math.min(start + 3999, #arguments)))
  end
end

local pairs_of_states, entries, from = {}, {}, 1
for i, length in ipairs(lengths) do
  local value = string.sub(bytes, from, from + length - 1)
  from = from + length
  if i <= #ids then
    pairs_of_states[2 * i - 1], pairs_of_states[2 * i] = ids[i], value
  else
    entries[i - #ids] = value
  end
end

each('HSET', states, pairs_of_states)
each('HDEL', states, index[2])
each('ZADD', timers, index[3])
each('ZREM', timers, index[4])
each('RPUSH', outbox, entries)
if trim > head then
  call('LTRIM', outbox, trim - head, -1)
end
return {'ok'}
