-- Take a partition of the second hop over: raise the fence, change nothing else, and read.
--
-- KEYS[1] meta: hash, see check.lua. KEYS[4] outbox: list, see check.lua. (2 and 3 as there, untouched.)
--
-- ARGV: our stamp (ports.Home; '': none), another stamp that ours may take the place of.
--
-- Returns {"ok", fence, token, meta or nil as false, head, entries}, {"elsewhere", stamp} or {"broken", what}.

local call = redis.call
local meta, outbox = KEYS[1], KEYS[4]

for key, wanted in pairs({[meta] = 'hash', [outbox] = 'list'}) do
  local found = call('TYPE', key).ok
  if found ~= wanted and found ~= 'none' then
    return {'broken', key .. ' is a ' .. found .. ', not a ' .. wanted}
  end
end

local stored = call('HMGET', meta, 'fence', 'token', 'head', 'tail', 'meta')
local fence, head, tail = tonumber(stored[1] or 0), tonumber(stored[3] or 0), tonumber(stored[4] or 0)
if not (fence and head and tail) or call('LLEN', outbox) ~= tail - head then
  return {'broken', meta .. ' does not fit ' .. outbox}
end

local ours = ARGV[1]
if ours ~= '' then
  local stamp = call('HGET', meta, 'home')
  if stamp and stamp ~= ours and stamp ~= ARGV[2] then
    return {'elsewhere', stamp}
  end
  call('HSET', meta, 'home', ours)
end

fence = fence + 1
call('HSET', meta, 'fence', fence)
return {'ok', fence, stored[2] or '', stored[5], head, call('LRANGE', outbox, 0, -1)}
