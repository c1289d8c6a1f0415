package valkeystore

// The scripts run on the server, each as one step. KEYS[1] is what they change.

// putScript puts the value ARGV[1], fetched at ARGV[2], with a time to live of
// ARGV[3], unless there is one that was fetched later, by a relay that knows
// better; but not one later than ARGV[4], which a wrong clock has made. It
// returns whether it did.
const putScript = `
local kept = redis.pcall('GETRANGE', KEYS[1], 0, 20)
local fetched = type(kept) == 'string' and tonumber(string.match(kept, '^%d+'))
if fetched and fetched > tonumber(ARGV[2]) and fetched <= tonumber(ARGV[4]) then
	return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
return 1`

// deleteScript deletes a value that was not fetched later than ARGV[1].
const deleteScript = `
local kept = redis.pcall('GETRANGE', KEYS[1], 0, 20)
local fetched = type(kept) == 'string' and tonumber(string.match(kept, '^%d+'))
if fetched and fetched > tonumber(ARGV[1]) then
	return 0
end
return redis.call('DEL', KEYS[1])`

// releaseScript deletes a lease that still has the token ARGV[1].
const releaseScript = `
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then
	return 0
end
return redis.call('DEL', KEYS[1])`
