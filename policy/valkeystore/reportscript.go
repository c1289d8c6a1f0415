package valkeystore

// The scripts of Reports make all checks before the first write, because the
// server does not roll back a script that fails. The first writes can be
// repeated without effect. If the user lacks a permission, they fail before the
// writes that cannot be repeated.
//
// The scripts with allow-oom free memory or are needed to report, so they must
// work on a full server.

// ofKind defines a function that returns an error if a key has another type.
const ofKind = `
local function wrong(key, kind)
	local found = redis.call('TYPE', key).ok
	if found ~= 'none' and found ~= kind then
		return redis.error_reply('DAMAGED ' .. key .. ' is a ' .. found)
	end
end
`

// addScript adds a batch. KEYS are the hash of the writer, the index of days,
// the set of domains of each day, and the open hash of each domain. ARGV are
// the batch number; the lifetimes of the writer and of the sums in seconds; the
// maximum numbers of domains, policies, details and octets; the numbers of days
// and of domains in the batch; the days; and for each domain the index of its
// day, its name and the output of addition.append.
//
// It returns 0 if the batch is stored, now or earlier; -1 if the day is full;
// or the index of a domain whose sums are damaged. A batch that was refused
// once is always refused.
const addScript = `#!lua` + ofKind + `
local most = 9007199254740991
local batch, keepWriter, keep = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local maxDomains, maxPolicies = tonumber(ARGV[4]), tonumber(ARGV[5])
local maxDetails, maxOctets = tonumber(ARGV[6]), tonumber(ARGV[7])
local days, domains = tonumber(ARGV[8]), tonumber(ARGV[9])

local damage = wrong(KEYS[1], 'hash') or wrong(KEYS[2], 'zset')
if damage then
	return damage
end
local known = redis.call('HMGET', KEYS[1], 'number', 'refused')
if known[1] then
	local last = string.match(known[1], '^%d+$') and tonumber(known[1])
	if not last then
		return redis.error_reply('DAMAGED ' .. KEYS[1] .. ' has no number')
	end
	if batch < last then
		return 0
	end
	if batch == last then
		return known[2] == '1' and -1 or 0
	end
end
local function refuse(why)
	redis.call('HSET', KEYS[1], 'number', ARGV[1], 'refused', '1')
	redis.call('EXPIRE', KEYS[1], keepWriter)
	return why
end

local at = 9
local function take()
	at = at + 1
	return ARGV[at]
end
local function takeAll(names)
	local taken = {}
	for _, name in ipairs(names) do
		taken[name] = take()
	end
	return taken
end
local policyArgs = {'id', 'text', 'otherId', 'otherText', 'successes', 'failures', 'details'}
local detailArgs = {'text', 'other', 'sessions'}

local room, dayOf = {}, {}
for i = 1, days do
	damage = wrong(KEYS[2 + i], 'set')
	if damage then
		return damage
	end
	room[i] = maxDomains - redis.call('SCARD', KEYS[2 + i])
	dayOf[i] = take()
end

-- load reads counts that are not known yet; false are those that are not there.
local function load(key, sums, fields)
	if #fields == 0 then
		return true
	end
	local found = redis.pcall('HMGET', key, unpack(fields))
	if found.err then
		return false
	end
	for i, field in ipairs(fields) do
		local count = found[i]
		if count then
			count = string.match(count, '^%d+$') and tonumber(count)
			if not count or count > most then
				return false
			end
		end
		sums[field] = count
	end
	return true
end

local changes = {}
for i = 1, domains do
	local key = KEYS[2 + days + i]
	local change = takeAll({'day', 'domain', 'policies'})
	change.key, change.day, change.counts, change.texts = key, tonumber(change.day), {}, {}
	local sums, counts, texts = {}, change.counts, change.texts
	local function add(field, count)
		count = (sums[field] or 0) + tonumber(count)
		sums[field], counts[field] = count, count
		return count <= most
	end

	local policies = {}
	local fields = {'#policies', '#details', '#octets'}
	for j = 1, tonumber(change.policies) do
		local p = takeAll(policyArgs)
		policies[j] = p
		for _, field in ipairs({'s' .. p.id, 'f' .. p.id, 's' .. p.otherId, 'f' .. p.otherId}) do
			fields[#fields + 1] = field
		end
	end
	if not load(key, sums, fields) then
		return refuse(i)
	end
	local function full(number, max, text)
		return (sums[number] or 0) >= max or (sums['#octets'] or 0) + #text > maxOctets
	end
	local fine = true
	for _, p in ipairs(policies) do
		local id, text = p.id, p.text
		if not sums['s' .. id] and full('#policies', maxPolicies, text) then
			id, text = p.otherId, p.otherText
		end
		if not sums['s' .. id] then
			texts['p' .. id] = text
			fine = add('#policies', 1) and add('#octets', #text) and fine
		end
		fine = add('s' .. id, p.successes) and add('f' .. id, p.failures) and fine

		local details, unknown = {}, {}
		for j = 1, tonumber(p.details) do
			local d = takeAll(detailArgs)
			d.text, d.other = 'd' .. id .. d.text, 'd' .. id .. d.other
			details[j] = d
			for _, field in ipairs({d.text, d.other}) do
				if sums[field] == nil then
					sums[field] = false
					unknown[#unknown + 1] = field
				end
			end
		end
		if not load(key, sums, unknown) then
			return refuse(i)
		end
		for _, d in ipairs(details) do
			local field = d.text
			if not sums[field] and full('#details', maxDetails, field) then
				field = d.other
			end
			if not sums[field] then
				fine = add('#details', 1) and add('#octets', #field) and fine
			end
			fine = add(field, d.sessions) and fine
		end
	end
	if not fine then
		return refuse(i)
	end
	changes[i] = change
	if room[change.day] < domains and redis.call('SISMEMBER', KEYS[2 + change.day], change.domain) == 0 then
		room[change.day] = room[change.day] - 1
		if room[change.day] < 0 then
			return refuse(-1)
		end
	end
end

for i = 1, days do
	redis.call('ZADD', KEYS[2], dayOf[i], dayOf[i])
end
redis.call('EXPIRE', KEYS[2], keep)
for _, change in ipairs(changes) do
	redis.call('SADD', KEYS[2 + change.day], change.domain)
end
for i = 1, days do
	redis.call('EXPIRE', KEYS[2 + i], keep)
end
redis.call('HSET', KEYS[1], 'number', ARGV[1], 'refused', '0')
redis.call('EXPIRE', KEYS[1], keepWriter)
for _, change in ipairs(changes) do
	local values = {}
	local function set(field, value)
		values[#values + 1] = field
		values[#values + 1] = value
		if #values >= 2000 then
			redis.call('HSET', change.key, unpack(values))
			values = {}
		end
	end
	for field, count in pairs(change.counts) do
		set(field, string.format('%.0f', count))
	end
	for field, text in pairs(change.texts) do
		set(field, text)
	end
	if #values > 0 then
		redis.call('HSET', change.key, unpack(values))
	end
	redis.call('EXPIRE', change.key, keep)
end
return 0`

// readPart is the common part of scripts with these KEYS: the sealed hash and
// the open hash of a domain, and the parts of the day. ARGV are the domain, its
// lifetime in seconds, and the maximum numbers of fields and octets to read.
// The result is the part number, or 0 if there is no part, and the hash.
const readPart = ofKind + `
local sealed, open, parts = KEYS[1], KEYS[2], KEYS[3]
local damage = wrong(sealed, 'hash') or wrong(open, 'hash') or wrong(parts, 'hash')
if damage then
	return damage
end
local function read(number, key)
	local fields, octets = {}, 0
	if redis.call('HLEN', key) <= tonumber(ARGV[3]) then
		fields = redis.call('HGETALL', key)
		for _, text in ipairs(fields) do
			octets = octets + #text
		end
	end
	if #fields == 0 or octets > tonumber(ARGV[4]) then
		return redis.error_reply('DAMAGED ' .. key .. ' is too large')
	end
	return {number, fields}
end
local function nextNumber()
	local ended = redis.call('HGET', parts, ARGV[1]) or '0'
	if #ended > 9 or not string.match(ended, '^%d+$') then
		return nil, redis.error_reply('DAMAGED ' .. parts .. ' has no number for ' .. ARGV[1])
	end
	return string.format('%.0f', ended + 1)
end
if redis.call('EXISTS', sealed) == 1 then
	return read(redis.call('HGET', sealed, '#number') or '', sealed)
end
if redis.call('EXISTS', open) == 0 then
	return {'0', {}}
end
local number, damage = nextNumber()
if damage then
	return damage
end
`

const sumsScript = `#!lua flags=no-writes` + readPart + `
return read(number, open)`

const sealScript = `#!lua flags=allow-oom` + readPart + `
redis.call('HSET', open, '#number', number)
redis.call('EXPIRE', open, ARGV[2])
redis.call('RENAME', open, sealed)
redis.call('HSET', parts, ARGV[1], number)
redis.call('EXPIRE', parts, ARGV[2])
return read(number, sealed)`

// deletePartScript deletes the sealed hash KEYS[1] of the domain ARGV[1] if its
// part number is ARGV[2]. If the open hash KEYS[2] does not exist either, it
// removes the domain from the set KEYS[3].
const deletePartScript = `#!lua flags=allow-oom` + ofKind + `
local damage = wrong(KEYS[1], 'hash') or wrong(KEYS[3], 'set')
if damage then
	return damage
end
if redis.call('HGET', KEYS[1], '#number') == ARGV[2] then
	redis.call('UNLINK', KEYS[1])
end
if redis.call('EXISTS', KEYS[1], KEYS[2]) == 0 then
	redis.call('SREM', KEYS[3], ARGV[1])
end
return 0`

// pageScript returns the cursor after ARGV[1] and about ARGV[2] members of the
// set KEYS[1], each truncated to ARGV[3] octets.
const pageScript = `#!lua flags=no-writes` + ofKind + `
local damage = wrong(KEYS[1], 'set')
if damage then
	return damage
end
local page = redis.call('SSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
for i, member in ipairs(page[2]) do
	page[2][i] = string.sub(member, 1, tonumber(ARGV[3]))
end
return page`

// deletePageScript removes the domains ARGV from the set KEYS[1] and deletes
// the other KEYS.
const deletePageScript = `#!lua flags=allow-oom
redis.call('UNLINK', unpack(KEYS, 2))
redis.call('SREM', KEYS[1], unpack(ARGV))
return 0`

// oldestScript returns the first day before ARGV[1] in the index KEYS[1], or
// "".
const oldestScript = `#!lua flags=no-writes` + ofKind + `
local damage = wrong(KEYS[1], 'zset')
if damage then
	return damage
end
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '-9007199254740992', '(' .. ARGV[1], 'WITHSCORES', 'LIMIT', 0, 1)
return found[2] and string.format('%.0f', math.floor(found[2])) or ''`

// endDayScript removes the day ARGV[1] from the index KEYS[1] and deletes
// KEYS[2] and KEYS[3].
const endDayScript = `#!lua flags=allow-oom
redis.call('UNLINK', KEYS[2], KEYS[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], ARGV[1], '(' .. string.format('%.0f', ARGV[1] + 1))
return 0`

// leaseScript sets KEYS[1] to the token ARGV[1] for ARGV[2] milliseconds,
// unless it is set. It has allow-oom because reporting frees memory.
const leaseScript = `#!lua flags=allow-oom
return redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])`
