-- Profiles of a partition in which something is due, for its owner: read together with the token, so they are what that
-- commit left.
--
-- KEYS[1] meta, KEYS[3] timers: see check.lua. (2 as there, unread.) ARGV: the owner's token, time (ms), limit.
--
-- Returns {"ok", [profile id, ...]}, with a timer below the time, earliest first; or {"rejected", token}. It writes
-- nothing.

local token = redis.call('HGET', KEYS[1], 'token') or ''
if token ~= ARGV[1] then
  return {'rejected', token}
end
return {'ok', redis.call('ZRANGE', KEYS[3], '-inf', '(' .. ARGV[2], 'BYSCORE', 'LIMIT', 0, ARGV[3])}
