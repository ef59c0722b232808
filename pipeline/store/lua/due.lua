-- Sheets of timers of a partition that begin to ring, for its owner: read together with the token, so they are what that
-- commit left.
--
-- KEYS[1] meta, KEYS[3] timers: see check.lua. (2 as there, unread.) ARGV: the owner's token, two times (ms), limit.
--
-- Returns {"ok", [sheet, ...]}, of those whose first timer isn't before the one time, but before the other, earliest
-- first; or {"rejected", token}. It writes nothing.

local token = redis.call('HGET', KEYS[1], 'token') or ''
if token ~= ARGV[1] then
  return {'rejected', token}
end
return {'ok', redis.call('ZRANGE', KEYS[3], ARGV[2], '(' .. ARGV[3], 'BYSCORE', 'LIMIT', 0, ARGV[4])}
