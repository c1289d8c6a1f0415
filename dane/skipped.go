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
// trust the server.
func (s Skip) WouldMatch(chain []*x509.Certificate, names []string, now time.Time) bool {
	record := s.Record
	if record.Usage == PKIXTA || record.Usage == PKIXEE {
		record.Usage += DANETA - PKIXTA
	}
	_, err := Verify(chain, []Record{record}, names, now)
	return err == nil
}
