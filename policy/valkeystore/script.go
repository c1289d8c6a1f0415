package valkeystore

// The scripts run atomically on the server. KEYS[1] is the key that they
// change.

// putScript sets the value ARGV[1], fetched at ARGV[2], with a time to live of
// ARGV[3]. It does nothing if the key has a value that was fetched later,
// unless that time is after ARGV[4], which means that the writer's clock was
// wrong. It returns whether it set the value.
const putScript = `
local kept = redis.pcall('GETRANGE', KEYS[1], 0, 20)
local fetched = type(kept) == 'string' and tonumber(string.match(kept, '^%d+'))
if fetched and fetched > tonumber(ARGV[2]) and fetched <= tonumber(ARGV[4]) then
	return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
return 1`

// deleteScript deletes a value, unless it was fetched later than ARGV[1].
const deleteScript = `
local kept = redis.pcall('GETRANGE', KEYS[1], 0, 20)
local fetched = type(kept) == 'string' and tonumber(string.match(kept, '^%d+'))
if fetched and fetched > tonumber(ARGV[1]) then
	return 0
end
return redis.call('DEL', KEYS[1])`

// releaseScript deletes a lease if it still has the token ARGV[1].
const releaseScript = `
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then
	return 0
end
return redis.call('DEL', KEYS[1])`
