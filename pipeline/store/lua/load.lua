-- States of a partition, for its owner: read together with the token, so they are what that commit left.
--
-- KEYS[1] meta, KEYS[2] states: see check.lua. ARGV: the owner's token, msgpack of [profile id, ...].
--
-- Returns {"ok", [state or nil as false, ...]} or {"rejected", token}. It writes nothing.

local token = redis.call('HGET', KEYS[1], 'token') or ''
if token ~= ARGV[1] then
  return {'rejected', token}
end

-- A Lua call takes some 8,000 arguments at most.
local ids, states = cmsgpack.unpack(ARGV[2]), {}
for start = 1, #ids, 4000 do
  local found = redis.call('HMGET', KEYS[2], unpack(ids, start, math.min(start + 3999, #ids)))
  for i = 1, #found do
    states[start + i - 1] = found[i]
  end
end
return {'ok', states}
