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
-- ARGV: fence, expected token, new token, meta, number of the first new entry, number below which entries go,
--   five counts of arguments, and then those: states (id, bytes, ...), states to delete (id, ...),
--   timers (due, id, ...), timers to remove (id, ...), new entries.
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
local first, trim, added = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[11])
if token ~= ARGV[2] or first ~= tail or trim > tail + added then
  return {'rejected', token, head, tail}
end

tail = tail + added
call('HSET', meta, 'fence', ARGV[1], 'token', ARGV[3], 'meta', ARGV[4], 'tail', tail, 'head', math.max(head, trim))

-- A Lua call takes some 8,000 arguments at most.
local position = 12
local function each(command, key, count)
  local last = position + tonumber(count) - 1
  while position <= last do
    local upto = math.min(position + 3999, last)
    call(command, key, unpack(ARGV, position, upto))
    position = upto + 1
  end
end

each('HSET', states, ARGV[7])
each('HDEL', states, ARGV[8])
each('ZADD', timers, ARGV[9])
each('ZREM', timers, ARGV[10])
each('RPUSH', outbox, ARGV[11])
if trim > head then
  call('LTRIM', outbox, trim - head, -1)
end
return {'ok'}
