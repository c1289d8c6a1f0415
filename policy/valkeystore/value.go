package valkeystore

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/mtasts"
)

// formVersion is part of all keys. It must change when the keys, the form of
// values, or the output of mtasts.Entry.MarshalBinary change.
const formVersion = "1"

// maxValue limits the size of a value: a policy of the maximum size, and less
// than 4 KiB for the rest of the entry.
const maxValue = mtasts.MaxPolicySize + 8<<10

// encode returns the value of e: the time of the fetch in milliseconds since
// 1970, which the scripts compare; a space; and the entry.
func encode(e mtasts.Entry) (string, error) {
	entry, err := e.MarshalBinary()
	if err != nil {
		return "", err
	}
	value := strconv.FormatInt(e.Fetched.UnixMilli(), 10) + " " + string(entry)
	if len(value) > maxValue {
		return "", fmt.Errorf("entry of %d octets is too large", len(value))
	}
	return value, nil
}

// decode decodes the value of domain.
func decode(domain string, value []byte) (mtasts.Entry, error) {
	if len(value) > maxValue {
		return mtasts.Entry{}, fmt.Errorf("%w: it is too large", errDamaged)
	}
	fetched, entry, _ := bytes.Cut(value, []byte(" "))
	var e mtasts.Entry
	if err := e.UnmarshalBinary(entry); err != nil {
		return mtasts.Entry{}, fmt.Errorf("%w: %w", errDamaged, err)
	}
	if e.Domain != domain || strconv.FormatInt(e.Fetched.UnixMilli(), 10) != string(fetched) {
		return mtasts.Entry{}, errDamaged
	}
	return e, nil
}

// same reports whether a and b have the same value.
func same(a, b mtasts.Entry) bool {
	one, errOne := encode(a)
	other, errOther := encode(b)
	return errOne == nil && errOther == nil && one == other
}

// keys builds the keys of a Store.
type keys struct{ policies, failures, leases, reports string }

func newKeys(prefix, version string) keys {
	prefix += version + ":"
	return keys{
		policies: prefix + "policy:", failures: prefix + "failed:", leases: prefix + "lease:", reports: prefix + "report:",
	}
}

func (k keys) policy(domain string) string  { return k.policies + domain }
func (k keys) failure(domain string) string { return k.failures + domain }

func (k keys) lease(domain string) string { return k.leases + domain }

// domain returns the domain of the key of a policy. ok is false if a Store
// cannot have written the key.
func (k keys) domain(key string) (domain string, ok bool) {
	domain, ok = strings.CutPrefix(key, k.policies)
	return domain, ok && isDomain(domain)
}

// maxDomainName limits a domain without its final dot, in octets (RFC 1035
// section 2.3.4).
const maxDomainName = 253

// isDomain reports whether s is a domain in the form that a Store uses:
// A-labels, in lower case, without a final dot.
func isDomain(s string) bool { return names.IsDomain(s) && names.Fold(s) == s }

// milliseconds returns d in milliseconds, rounded up.
func milliseconds(d time.Duration) int64 {
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}
