package mtasts

import (
	"errors"
	"fmt"
	"strings"

	"github.com/mxseal/mxseal/internal/grammar"
)

// ErrNoRecord says that a domain publishes no MTA-STS record: none of the TXT
// records at _mta-sts begins with "v=STSv1;" (RFC 8461 section 3.1). For a
// domain without a policy in force this is no failure.
var ErrNoRecord = errors.New("mtasts: no MTA-STS record")

// Record is the TXT record at _mta-sts.DOMAIN (RFC 8461 section 3.1). It says
// that the domain has a policy, and which one; the policy itself comes over
// HTTPS.
type Record struct {
	// ID names one instance of the policy: 1 to 32 letters and digits. IDs are
	// compared for equality only; they have no order.
	ID string
}

const (
	version = "STSv1"
	maxID   = 32 // octets of an id
)

// SelectRecord picks the MTA-STS record among the TXT records found at
// _mta-sts.DOMAIN and parses it. Each string is one record, with its
// character-strings joined without spaces.
//
// Records that do not begin with "v=STSv1;" belong to something else and are
// dropped first; white space before the semicolon is tolerated. When nothing
// is left the error is [ErrNoRecord]. Several MTA-STS records or a malformed
// one are an [*Error] of kind [KindRecord], and the domain has no usable
// record (RFC 8461 section 3.1).
func SelectRecord(txts []string) (Record, error) {
	var found string
	count := 0
	for _, txt := range txts {
		if claimsVersion(txt) {
			found = txt
			count++
		}
	}
	switch count {
	case 0:
		return Record{}, ErrNoRecord
	case 1:
		return ParseRecord(found)
	default:
		return Record{}, recordError("record-multiple", "%d MTA-STS records", count)
	}
}

// claimsVersion reports whether txt begins with `v=STSv1` *WSP `;`.
func claimsVersion(txt string) bool {
	rest, ok := strings.CutPrefix(txt, "v="+version)
	return ok && strings.HasPrefix(trimLeft(rest), ";")
}

// ParseRecord parses one TXT record by the grammar of RFC 8461 section 3.1.
// Unknown fields that fit the grammar are ignored, and so is every id after
// the first. The error is an [*Error] of kind [KindRecord].
func ParseRecord(txt string) (Record, error) {
	head, rest, delimited := strings.Cut(txt, ";")
	if trimRight(head) != "v="+version {
		return Record{}, recordError("record-version", "does not begin with \"v=STSv1;\"")
	}
	var rec Record
	for delimited {
		var field string
		field, rest, delimited = strings.Cut(rest, ";")
		field = trimLeft(field)
		if delimited {
			field = trimRight(field)
		} else if field == "" {
			break // the optional last delimiter
		}
		if err := rec.addField(field); err != nil {
			return Record{}, err
		}
	}
	if rec.ID == "" {
		return Record{}, recordError("record-id", "no id")
	}
	return rec, nil
}

// addField takes in one sts-field.
func (rec *Record) addField(field string) error {
	name, value, _ := strings.Cut(field, "=")
	if name == "id" && rec.ID == "" {
		// A bad id also fits the grammar of an extension; it is not read as one.
		if !isID(value) {
			return recordError("record-id", "malformed id %s", quote(value))
		}
		rec.ID = value
		return nil
	}
	if !grammar.IsExtensionName(name) || !grammar.IsExtensionValue(value) {
		return recordError("record-syntax", "malformed field %s", quote(field))
	}
	return nil
}

// isID reports whether s is 1*32(ALPHA / DIGIT).
func isID(s string) bool {
	if len(s) == 0 || len(s) > maxID {
		return false
	}
	for i := range len(s) {
		if !grammar.IsAlphanumeric(s[i]) {
			return false
		}
	}
	return true
}

func recordError(reason, format string, args ...any) *Error {
	return &Error{Kind: KindRecord, ReasonCode: reason, Err: fmt.Errorf(format, args...)}
}
