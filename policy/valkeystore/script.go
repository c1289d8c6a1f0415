package valkeystore

// The scripts run atomically on the server. KEYS[1] is the key that they
// change.

// putScript sets the value ARGV[1], fetched at ARGV[2], with a time to live of
// ARGV[3]. It does nothing if the key has a value that was fetched later, unless
// that time is in the future, which means that its writer's clock was wrong. It
// returns whether it set the value.
//
// The clock of the server decides what the future is, because the caller's may be
// the wrong one. If the user may not ask for it, it is after ARGV[4]. A value
// fetched at the same time keeps its time to live.
const putScript = `
local kept = redis.pcall('GETRANGE', KEYS[1], 0, 20)
local fetched = type(kept) == 'string' and tonumber(string.match(kept, '^%d+'))
if fetched and fetched > tonumber(ARGV[2]) then
	local future = tonumber(ARGV[4])
	local now = redis.pcall('TIME')
	if not now.err then
		future = now[1] * 1000 + tonumber(ARGV[5])
	end
	if fetched <= future then
		return 0
	end
end
if fetched and fetched == tonumber(ARGV[2]) then
	redis.call('SET', KEYS[1], ARGV[1], 'KEEPTTL')
else
	redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
end
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

// scanScript returns the cursor after ARGV[1], and keys that match ARGV[2] and their
// values, in turn. It goes through about ARGV[3] keys. A value is empty if it is not a
// string, or if the page has ARGV[5] octets already. It is truncated after ARGV[4] octets
// and one more, so that it remains too large to be valid.
const scanScript = `#!lua flags=no-writes
local page = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
local found, octets = {}, 0
for _, key in ipairs(page[2]) do
	local value = ''
	if octets < tonumber(ARGV[5]) then
		value = redis.pcall('GETRANGE', key, 0, ARGV[4])
		if type(value) ~= 'string' then
			value = ''
		end
	end
	octets = octets + #value
	found[#found + 1] = key
	found[#found + 1] = value
end
return {page[1], found}`
