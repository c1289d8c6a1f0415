// Package dnstree provides a private DNS for tests: a tree of zones, signed
// from its own root, and a server on the loopback interface that answers like a
// recursive resolver. The root key of the tree is the trust anchor.
//
//	tree := dnstree.New()
//	tree.Zone("org")
//	zone := tree.Zone("example.org", dnstree.NSEC3(0, "", false))
//	zone.Add(`@ MX 10 mx`, `mx A 192.0.2.1`, `_25._tcp.mx TLSA 3 1 1 ab12...`)
//	tree.Start()
//	defer tree.Close()
//	// query tree.Addr() with the trust anchors tree.Anchors()
//
// The server behaves like a resolver that supports DO and CD and does not
// validate. It follows CNAME and DNAME across the zones of the tree, includes
// signatures and the NSEC or NSEC3 records that prove a denial or a wildcard,
// answers queries for DS records from the parent zone, and truncates UDP
// replies. Signatures are created when they are first needed, so that building
// a large tree is fast.
//
// [Tree.Listen] serves the tree at another address as well, and
// [Tree.ListenResolver] puts a resolver in front of it.
//
// [Tree.Break] changes replies, as an attacker or a broken server would, until
// it is undone. [Tree.Slow] delays replies. [Tree.Count] returns the number of
// queries, and [Tree.Rounds] the number of round trips.
//
// Functions panic on mistakes of the caller, such as a record that does not
// parse.
package dnstree
