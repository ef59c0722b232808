-- Take a source partition of the first hop over.
--
-- KEYS[1] positions: hash, see resolve.lua.
--
-- ARGV: source, new token. Returns {"ok", position's bytes or nil as false} or {"broken", what}.

local positions, source, token = KEYS[1], ARGV[1], ARGV[2]
local found = redis.call('TYPE', positions).ok
if found ~= 'hash' and found ~= 'none' then
  return {'broken', positions .. ' is a ' .. found .. ', not a hash'}
end
redis.call('HSET', positions, source .. '#token', token)
return {'ok', redis.call('HGET', positions, source)}
