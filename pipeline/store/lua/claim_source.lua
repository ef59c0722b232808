-- Take a source partition of the first hop over.
--
-- KEYS[1] positions: hash, see resolve.lua.
--
-- ARGV: source ('': none, look at the stamp alone), new token, our stamp (ports.Home; '': none), another stamp that ours
--   may take the place of. Returns {"ok", position's bytes or nil as false}, {"elsewhere", stamp} or {"broken", what}.

local positions, source, token, ours = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local found = redis.call('TYPE', positions).ok
if found ~= 'hash' and found ~= 'none' then
  return {'broken', positions .. ' is a ' .. found .. ', not a hash'}
end
if ours ~= '' then
  local stamp = redis.call('HGET', positions, '#home')
  if stamp and stamp ~= ours and stamp ~= ARGV[4] then
    return {'elsewhere', stamp}
  end
  redis.call('HSET', positions, '#home', ours)
end
if source == '' then
  return {'ok', false}
end
redis.call('HSET', positions, source .. '#token', token)
return {'ok', redis.call('HGET', positions, source)}
