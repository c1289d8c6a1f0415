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
//	err = r.Explain(os.Stdout) // a table of the failures, and what to do about them
//
// All text in a report was chosen by its sender, who may be an attacker. Explain
// prints it safely. A program that shows or stores it in any other way must escape
// it.
//
// The methods MarshalJSON and UnmarshalJSON of [Report] write and read the JSON
// text alone. MarshalJSON follows the RFC exactly.
package report
