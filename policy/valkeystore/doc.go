// Package valkeystore shares MTA-STS policies, and the sums of TLS reports,
// among all machines that send mail, by a Valkey server or Redis 7.
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
// MTA-STS protects those who remember. With a store of their own, ten relays
// meet each domain for the first time ten times, and ten times somebody can hide
// the policy from one of them. With a [Store] that they share, what one has
// fetched protects all: the others hear of it at once, and one of them at a time
// fetches a policy again.
//
// The TLS reports of RFC 8460 are made of what all relays have counted, and one
// relay at a time sends those of a domain:
//
//	recorder, err := reporter.NewAggregator(reporter.AggregatorConfig{Store: store.Reports()})
//	sender, err := reporter.New(reporter.Config{Store: store.Reports(), ...})
//
// # What the server is trusted with
//
// The server is a memory. It is never asked whether a domain has a policy, only
// what is remembered of it, and nothing that it says or fails to say makes a
// policy in force weaker: while it is away, slow, full, flushed or failing over,
// every relay goes on with what it has in memory, and fetches what it has not.
// When it is back, what a relay knows better is written again.
//
// Yet a policy that is read back is believed, if it is in order. Whoever can
// write to the server can name the mail hosts of a domain of which a relay has
// nothing in memory. So have connections use TLS, and give the relays a user of
// their own, who needs no more than this:
//
//	ACL SETUSER relay on >secret resetkeys resetchannels -@all ~mxseal:*
//	    +hello +ping +client|tracking +getrange +get +set +del +eval +scan
//
// and for the sums of reports these as well:
//
//	ACL SETUSER relay +time +type +exists +expire +rename +unlink
//	    +hget +hgetall +hlen +hmget +hset +sadd +scard +sismember +srem +sscan
//	    +zadd +zrangebyscore +zremrangebyscore
//
// Valkey's "maxmemory-policy" should be "noeviction" or a volatile one. A
// policy takes some hundred octets. All keys have a time to live, which for a
// policy is what is left of its max_age, and for sums some days.
//
// Sums are lost with the server, unless it keeps them on disk ("appendonly yes"),
// and with a fail-over those that the replica has not heard of yet. Should that be
// the end of the part that a report is made of, the report that is then sent has
// the ID of one that may have gone out already.
// While it is away, each relay keeps what it counts in memory and adds it later,
// once.
//
// # What is kept in memory
//
// What was read or written stays in the memory of the Store, where a hit costs
// no round trip. The server pushes each change to all relays (broadcasting mode
// of client-side caching), which is also how a Client that runs [mtasts.Client.Run]
// gets to know of it.
//
// # Versions
//
// All keys begin with a prefix and the version of their form. Releases of
// mxseal with different forms can use one server at the same time: they do not
// see each other's keys.
package valkeystore
