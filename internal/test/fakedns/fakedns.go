// Package fakedns answers DNS lookups from memory, for tests in a synctest bubble or of
// the decision alone. Package policytest has real DNS, signed and attacked.
package fakedns

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
)

// ErrServFail is the error of a lookup that fails.
var ErrServFail = errors.New("SERVFAIL")

// Answers is a dnssec.Resolver. It has the answers by Key. A lookup whose answer is nil
// fails. A name without an entry does not exist, with the status Insecure. An answer
// without a time of expiry expires in an hour.
type Answers map[string]*dnssec.Answer

// Key is the key of an answer, such as "mx.example.org. AAAA".
func Key(name string, t dnssec.Type) string { return Canonical(name) + " " + t.String() }

// Canonical returns a name in lower case, with the final dot.
func Canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) + "." }

// Add adds records, all of one name and type, with a status.
func (a Answers) Add(tb testing.TB, status dnssec.Status, records ...string) {
	tb.Helper()
	var answer *dnssec.Answer
	for _, text := range records {
		record, err := dnssec.ParseRecord(text)
		if err != nil {
			tb.Fatal(err)
		}
		if answer == nil {
			answer = &dnssec.Answer{Name: record.Name, Status: status}
			a[Key(record.Name, record.Type)] = answer
		}
		answer.Records = append(answer.Records, record)
	}
}

// Deny adds answers without records.
func (a Answers) Deny(status dnssec.Status, keys ...string) {
	for _, key := range keys {
		name, _, _ := strings.Cut(key, " ")
		a[key] = &dnssec.Answer{Name: name, Status: status}
	}
}

// Lookup returns a copy of the answer.
func (a Answers) Lookup(_ context.Context, name string, t dnssec.Type) (*dnssec.Answer, error) {
	answer := dnssec.Answer{Name: Canonical(name), Status: dnssec.Insecure, NXDomain: true}
	if known, found := a[Key(name, t)]; found && known == nil {
		return nil, &dnssec.Error{Name: answer.Name, Type: t, Reason: dnssec.ServerFailure, Err: ErrServFail}
	} else if found {
		answer = *known
	}
	if answer.Expires.IsZero() {
		answer.Expires = time.Now().Add(time.Hour)
	}
	return &answer, nil
}
