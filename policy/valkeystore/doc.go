// Package valkeystore shares MTA-STS policies and the sums of TLS reports among
// several mail senders, in a Valkey or Redis 7 server.
//
//	server, err := valkey.ParseURL("rediss://relay:secret@valkey.example.net:6379/0")
//	if err != nil {
//		return err
//	}
//	store, err := valkeystore.New(valkeystore.Config{Server: server})
//	if err != nil {
//		return err
//	}
//	defer store.Close()
//	client, err := mtasts.New(mtasts.Config{Store: store})
//
// MTA-STS does not protect the first delivery to a domain. If ten relays each
// have their own store, each of them has a first delivery to each domain, and
// an attacker can hide the policy each time. With a shared [Store], a policy
// that one relay has fetched protects all of them. The others are notified of
// it at once, and only one relay at a time fetches a policy again.
//
// The TLS reports of RFC 8460 contain the sessions of all relays. Only one
// relay at a time sends the report of a domain:
//
//	recorder, err := reporter.NewAggregator(reporter.AggregatorConfig{Store: store.Reports()})
//	sender, err := reporter.New(reporter.Config{Store: store.Reports(), ...})
//
// # Trust in the server
//
// The server is only a cache. A missing or wrong answer never weakens a policy
// in force. While the server is unreachable, slow, full, flushed or failing
// over, each relay uses the policies in its memory and fetches others itself.
// When the server is back, the relays write the policies that it has lost.
//
// However, a valid policy that is read from the server is trusted. Anyone who
// can write to the server can choose the mail hosts of domains that a relay
// does not have in memory, unless all relays have the same mtasts.Config.StoreKey.
// Use TLS for the connection, and create a user for the relays with these
// permissions only:
//
//	ACL SETUSER relay on >secret resetkeys resetchannels -@all ~mxseal:*
//	    +hello +ping +client|tracking +getrange +get +set +del +eval +scan +time
//
// The sums of reports also need these:
//
//	ACL SETUSER relay +type +exists +expire +rename +unlink
//	    +hget +hgetall +hlen +hmget +hset +sadd +scard +sismember +srem +sscan
//	    +zadd +zrangebyscore +zremrangebyscore
//
// Set the "maxmemory-policy" of the server to "noeviction" or to one of the
// volatile policies. A policy needs a few hundred octets. All keys expire: a
// policy a day after the end of its max_age, sums after a few days.
//
// The sums of a domain and day have at most 1000 different failures, 256 policies and 512
// KiB of text. Sums are lost if the server loses its data. Persistence ("appendonly yes")
// prevents that. A failover loses the additions that were not replicated yet.
// If a failover loses the seal of a part, the next report can have the same ID
// as a report that was already sent. While the server is unreachable, each
// relay keeps its counts in memory. It adds them later, exactly once.
//
// # Failures
//
// If the policy host of a domain answers with an error, one relay asks it again every five
// minutes, and not each of them. The failure is on the server for that time, under a key
// of its own. It is about the id of one TXT record, and a relay looks up that record itself.
//
// A writer to the server could plant such a failure. It replaces no policy: while one is in
// force, a relay ignores it. With mtasts.Config.StoreKey, a planted failure is ignored too,
// and an old one ends with its five minutes, which count from the fetch. Without the key, it
// delays the first fetch of a domain by five minutes at most, and then the relay fetches
// the policy itself, whatever the server says. Failures to connect are not shared: their
// cause may be near the relay.
//
// # Memory
//
// A Store keeps the entries that it has read or written in memory, and remembers which
// domains have none. A hit of either kind needs no round trip. The server notifies all
// relays of each change, with the broadcasting mode of client-side caching, and what was
// read before contact was lost is read again. [mtasts.Client.Run] uses these
// notices too. The relays take turns in going through all entries.
//
// # Versions
//
// All keys begin with the prefix and the version of their form, and all entries have a
// version. An entry of an older version is read, and written again in the present one. An
// entry of a later version is an error that names it, and never means that there is no
// policy. Releases with different forms of keys can use the same server at the same time.
// They do not see each other's data.
package valkeystore
