// Package report reads, explains and writes TLS reports, the JSON documents of
// RFC 8460 section 4. Domain owners who receive reports need only this package.
//
// A report says how many of one sender's sessions with the mail hosts of a domain
// met the domain's policy on one day, how many did not, and why. It arrives by
// mail or by https, usually compressed. [Parse] reads all of these forms, and
// accepts the deviations from the RFC that are common in practice:
//
//	r, err := report.Parse(os.Stdin)
//	if err != nil {
//		log.Fatal(err)
//	}
//	err = r.Explain(os.Stdout) // what happened, at which hosts, and what to do
//
// [Read] and [ReadFS] read many reports: mboxes, Maildirs and directories. A [Digest] sums
// them up over days and senders, and its [Overview] has what an owner should know, the
// worst first, as text or as data:
//
//	var digest report.Digest
//	for r, err := range report.ReadFS(os.DirFS("Maildir")) {
//		if err == nil {
//			digest.Add(r)
//		}
//	}
//	err := digest.Overview().Explain(os.Stdout)
//
// All text in a report was chosen by its sender, who may be an attacker. Explain
// prints it safely. A program that shows or stores it in any other way must escape
// it. Nothing proves who sent a report, unless the mail was authenticated by DKIM (RFC 8460
// section 5.3).
//
// The methods MarshalJSON and UnmarshalJSON of [Report] write and read the JSON
// text alone. MarshalJSON follows the RFC exactly.
package report
