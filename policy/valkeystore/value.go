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

// formVersion is part of all keys. A change of the keys, of the value, or of
// what mtasts.Entry.MarshalBinary writes is a new version.
const formVersion = "1"

// maxValue bounds a value: a policy of the largest size, and the rest of an
// entry, which takes less than 4 KiB.
const maxValue = mtasts.MaxPolicySize + 8<<10

// encode returns the value of e: when the policy was fetched, in milliseconds
// since 1970, which the scripts on the server compare; a space; the entry.
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

// decode reads a value that is said to be of domain.
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

// keys are the names under which a Store keeps things.
type keys struct{ policies, leases, reports string }

func newKeys(prefix, version string) keys {
	prefix += version + ":"
	return keys{policies: prefix + "policy:", leases: prefix + "lease:", reports: prefix + "report:"}
}

func (k keys) policy(domain string) string { return k.policies + domain }
func (k keys) lease(domain string) string  { return k.leases + domain }

// domain returns the domain that the key of a policy is for. ok is false if it
// cannot be one that was put there by a Store.
func (k keys) domain(key string) (domain string, ok bool) {
	domain, ok = strings.CutPrefix(key, k.policies)
	return domain, ok && isDomain(domain)
}

// maxDomainName bounds a domain without its final dot, in octets (RFC 1035 section
// 2.3.4).
const maxDomainName = 253

// isDomain reports whether s is a domain in the form in which a Store gets them:
// in A-labels, in lower case and without final dot.
func isDomain(s string) bool { return names.IsDomain(s) && names.Fold(s) == s }

// milliseconds returns d rounded up.
func milliseconds(d time.Duration) int64 {
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}
