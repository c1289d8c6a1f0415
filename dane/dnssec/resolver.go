package dnssec

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec/internal/hostaddr"
)

// Resolver looks up DNS records and reports how well they are authenticated. The
// name is in the form of a zone file, in any case, with or without final dot.
//
// A failed lookup, such as a bogus answer or an unreachable server, returns an
// error of type *[Error], never an empty Answer.
//
// Implementations are safe for concurrent use.
type Resolver interface {
	Lookup(ctx context.Context, name string, t Type) (*Answer, error)
}

// Answer is the result of a successful lookup. An answer without records is a
// denial: the name does not exist if NXDomain is set, otherwise it has no records
// of the type.
//
// An Answer may be shared by several callers and is read-only.
type Answer struct {
	// Name is the canonical name (lower case, final dot) that the Records belong
	// to: the target of the last alias, or the name asked for.
	Name string
	// Aliases are the CNAME and DNAME steps from the name asked for to Name.
	Aliases []Alias
	// Records is the RRset of the type at Name, without signatures and aliases.
	// It is empty if the answer is a denial.
	Records []Record
	// NXDomain is true if Name does not exist (RFC 8020). Records is then empty.
	NXDomain bool
	// Status is Secure or Insecure. It is the weakest status of the aliases and of
	// the records or their denial.
	Status Status
	// Expires is the time after which the answer must not be used. It is the
	// earliest end of the TTLs and signature lifetimes that the answer depends on.
	Expires time.Time
}

// Alias is one step of a chain of CNAME and DNAME records. Each step has a status
// of its own, because DANE depends on that of the first one (RFC 7672 section
// 2.2.2).
type Alias struct {
	Name   string // the owner of the alias, canonical, with final dot
	Target string // the name that it leads to, canonical, with final dot
	// DNAME is true if the step was synthesized from a DNAME record at an ancestor
	// of Name. Status is then that of the DNAME record.
	DNAME  bool
	Status Status
}

// Status is the DNSSEC state of an answer (RFC 4035 section 4.3). It is never
// reduced to a bool, because an answer that was not judged differs from one that
// is proven to be unsigned. The zero value is the weakest.
type Status uint8

const (
	// Indeterminate means that nothing is known. A Resolver never returns an
	// answer with this status.
	Indeterminate Status = iota
	// Bogus means that there should be a chain of trust, and it is broken.
	Bogus
	// Insecure means that an authenticated denial proves that the data is in a
	// zone outside any chain of trust.
	Insecure
	// Secure means that every link of the chain of trust was verified.
	Secure
)

// String returns the name of the status in lower case, as in "secure".
func (s Status) String() string {
	switch s {
	case Secure:
		return "secure"
	case Insecure:
		return "insecure"
	case Bogus:
		return "bogus"
	default:
		return "indeterminate"
	}
}

// MarshalText returns what String returns.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// answerOf returns the answer of r. No answer, or one without a status, is an error.
func answerOf(ctx context.Context, r Resolver, name string, t Type) (*Answer, error) {
	a, err := r.Lookup(ctx, name, t)
	if err == nil && (a == nil || a.Status != Secure && a.Status != Insecure) {
		return nil, errors.New("dnssec: the Resolver returned no error and no answer with a status; correct it")
	}
	return a, err
}

// LookupTXT returns the TXT records of name, each with its strings joined, and the
// time at which they expire. It ignores the status of the answer.
//
// If there are no such records, the error is a *net.DNSError with IsNotFound set,
// and expires is the time until which that holds. Any other error means that the
// lookup failed and nothing is known.
func LookupTXT(ctx context.Context, r Resolver, name string) (txts []string, expires time.Time, err error) {
	a, err := answerOf(ctx, r, name, TypeTXT)
	if err != nil {
		return nil, time.Time{}, err
	}
	for _, record := range a.Records {
		if txt, ok := record.TXT(); ok {
			txts = append(txts, txt)
		}
	}
	if len(txts) == 0 {
		return nil, a.Expires, hostaddr.NotFound(name)
	}
	return txts, a.Expires, nil
}

// LookupNetIP returns the addresses of host. The network is "ip", "ip4" or "ip6".
// With "ip" it looks up both families at once; if one lookup fails and the other
// finds addresses, it returns these. It ignores the status of the answers. A host
// that is an IP address is returned as it is.
//
// If there are no addresses, the error is a *net.DNSError with IsNotFound set. Any
// other error means that a lookup failed.
func LookupNetIP(ctx context.Context, r Resolver, network, host string) ([]netip.Addr, error) {
	return hostaddr.Lookup(network, host, func(rtype uint16) (addrs []netip.Addr, err error) {
		a, err := answerOf(ctx, r, host, Type(rtype))
		if err != nil {
			return nil, err
		}
		for _, record := range a.Records {
			if addr, ok := record.Addr(); ok {
				addrs = append(addrs, addr)
			}
		}
		return addrs, nil
	})
}
