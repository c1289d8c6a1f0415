package dane

import (
	"crypto/x509"
	"time"
)

// Skip is a published record that [Select] leaves out.
type Skip struct {
	Record Record
	// Reason says why in printable ASCII, such as "unusable: usage PKIX-EE is not for mail".
	Reason string
}

// Skipped returns the records that [Select] leaves out, in the given order, each with the
// reason. It is for people who publish records, and for error messages: the records that it
// returns authenticate nothing. The data is shared with the argument.
func Skipped(records []Record) []Skip {
	var v Verifier
	reasons := make([]string, len(records))
	var usable []Record
	for i := range records {
		if why := v.unusable(&records[i]); why != nil {
			reasons[i] = why.detail
			continue
		}
		usable = append(usable, records[i])
	}
	strongest := v.strongest(usable)
	var list []Skip
	for i := range records {
		switch {
		case reasons[i] != "":
			list = append(list, Skip{records[i], reasons[i]})
		case !strongest.keeps(v, &records[i]):
			list = append(list, Skip{records[i], "a record with a stronger digest is published for the same usage and selector"})
		}
	}
	return list
}

// WouldMatch reports whether the certificates of a handshake match the record if the reason
// to skip it is left aside. A PKIX-TA or PKIX-EE record is then compared like a DANE-TA or
// DANE-EE record. The arguments are those of [Verify]. The result is never a reason to
// trust the server. For several records, use the function [WouldMatch], which bounds the work
// for all of them.
func (s Skip) WouldMatch(chain []*x509.Certificate, names []string, now time.Time) bool {
	return WouldMatch([]Skip{s}, chain, names, now)[0]
}

// WouldMatch reports for each record what [Skip.WouldMatch] does. The server chooses the
// certificates, and its domain the records, so all of them together take no more work than one
// call of [Verify]. A record for which that is not enough does not match.
func WouldMatch(skipped []Skip, chain []*x509.Certificate, names []string, now time.Time) []bool {
	matches := make([]bool, len(skipped))
	if len(chain) == 0 || chain[0] == nil {
		return matches
	}
	records := make([]Record, len(skipped))
	for i, skip := range skipped {
		records[i] = skip.Record
		if records[i].Usage == PKIXTA || records[i].Usage == PKIXEE {
			records[i].Usage += DANETA - PKIXTA
		}
	}
	var v Verifier
	leaf, s := candidate{cert: chain[0]}, newSearch(v, chain, records, names, now)
	for i := range records {
		switch r := &records[i]; {
		case v.unusable(r) != nil:
		case r.Usage == DANEEE:
			matches[i] = leaf.matches(v, r)
		default:
			_, why := s.record(r)
			matches[i] = why == nil
		}
	}
	return matches
}
