package dnssec

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// LookupTXT returns the TXT records of name from any Resolver, each with its
// strings joined, and when they expire. If there are none, the error is a
// *net.DNSError with IsNotFound, and the time says until when that holds. Any
// other error means that nothing is known. The status of the answer is ignored.
func LookupTXT(ctx context.Context, r Resolver, name string) (txts []string, expires time.Time, err error) {
	a, err := r.Lookup(ctx, name, TypeTXT)
	if err != nil {
		return nil, time.Time{}, err
	}
	for _, record := range a.Records {
		if txt, ok := record.TXT(); ok {
			txts = append(txts, txt)
		}
	}
	if len(txts) == 0 {
		return nil, a.Expires, notFound(name)
	}
	return txts, a.Expires, nil
}

// LookupNetIP returns the addresses of host from any Resolver; network is "ip",
// "ip4" or "ip6". With "ip", both families are looked up at once, and a failure
// of one is an error only if the other has no address. If there are none, the
// error is a *net.DNSError with IsNotFound. The status of the answers is
// ignored.
func LookupNetIP(ctx context.Context, r Resolver, network, host string) (addrs []netip.Addr, err error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return literal(addr, network)
	}
	var types []Type
	switch network {
	case "ip":
		types = []Type{TypeA, TypeAAAA}
	case "ip4":
		types = []Type{TypeA}
	case "ip6":
		types = []Type{TypeAAAA}
	default:
		return nil, net.UnknownNetworkError(network)
	}
	type outcome struct {
		answer *Answer
		err    error
	}
	outcomes := make([]chan outcome, len(types))
	for i, t := range types {
		outcomes[i] = make(chan outcome, 1)
		go func() {
			a, err := r.Lookup(ctx, host, t)
			outcomes[i] <- outcome{a, err}
		}()
	}
	for _, c := range outcomes {
		o := <-c
		if o.err != nil {
			err = o.err
			continue
		}
		for _, record := range o.answer.Records {
			if addr, ok := record.Addr(); ok {
				addrs = append(addrs, addr)
			}
		}
	}
	switch {
	case len(addrs) > 0:
		return addrs, nil
	case err != nil:
		return nil, err
	default:
		return nil, notFound(host)
	}
}

func literal(addr netip.Addr, network string) ([]netip.Addr, error) {
	if network == "ip4" && !addr.Unmap().Is4() || network == "ip6" && addr.Unmap().Is4() {
		return nil, notFound(addr.String())
	}
	return []netip.Addr{addr}, nil
}

func notFound(name string) error {
	return &net.DNSError{Err: "no such host or record", Name: name, IsNotFound: true}
}

// LookupTXT is like the method of *net.Resolver, over validated answers.
func (v *Validator) LookupTXT(ctx context.Context, name string) ([]string, error) {
	txts, _, err := LookupTXT(ctx, v, name)
	return txts, err
}

// LookupTXTUntil is LookupTXT that also says when the records, or their
// absence, expire.
func (v *Validator) LookupTXTUntil(ctx context.Context, name string) ([]string, time.Time, error) {
	return LookupTXT(ctx, v, name)
}

// LookupNetIP is like the method of *net.Resolver, over validated answers.
func (v *Validator) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return LookupNetIP(ctx, v, network, host)
}
