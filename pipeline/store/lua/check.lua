-- Whether a commit of one partition of the second hop may be written: see redis_store.py, which writes it.
--
-- KEYS[1] meta: hash. `fence`: raised by each owner that takes the partition over. `token`: names the last commit.
--   `head`, `tail`: numbers of the first entry in the outbox and of the next one to come. `meta`: the owner's own bytes.
--   `home`: which Kafka all this belongs to (ports.Home).
--
-- KEYS[2] states: hash, profile id -> the profile's bytes.
--
-- KEYS[3] timers: sorted set, sheets (profile/timers.py) by the time (ms) at which the first on each rings.
--
-- KEYS[4] outbox: list of entries that are committed, but perhaps not yet published. Numbered head to tail - 1.
--
-- ARGV: fence, expected token, new token, number of the first new entry, how many there are, number below which entries
--   go.
--
-- Returns {"ok", head and tail after the commit, how many entries go} or {"ok"} where this commit is the last; else
-- {"fenced", fence}, {"rejected", token, head, tail} or {"broken", what}. It writes nothing. What it finds holds for as
-- long as the caller watches the keys; and with these types none of the caller's writes can fail half-way.

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
local first, added, trim = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
if token ~= ARGV[2] or first ~= tail or trim > tail + added then
  return {'rejected', token, head, tail}
end
return {'ok', math.max(head, trim), tail + added, math.max(trim - head, 0)}
