package nat64

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/upstream"
)

// Asker asks servers for the addresses of Name.
type Asker struct {
	Client *upstream.Client
	// IsSecure says whether nobody on the network can forge what a server says.
	IsSecure func(*upstream.Server) bool
}

// maxMemory bounds the memory for a reply.
const maxMemory = 32 << 10

// Ask asks one server after the other.
func (a Asker) Ask(ctx context.Context) (*Answer, error) {
	servers, problem := a.Client.Servers()
	errs := []error{problem}
	for _, s := range servers {
		answer, err := a.askOne(ctx, s)
		if err == nil {
			return answer, nil
		}
		errs = append(errs, fmt.Errorf("DNS server %s does not answer for %q: %w", s, Name, err))
	}
	if len(servers) == 0 && problem == nil {
		errs = append(errs, errors.New("there is no DNS server to ask"))
	}
	return nil, errors.Join(errs...)
}

// askOne asks over TCP if the reply over UDP is truncated or does not arrive.
func (a Asker) askOne(ctx context.Context, s *upstream.Server) (*Answer, error) {
	q := upstream.Question{Name: Name, Type: dns.TypeAAAA, Plain: true, Memory: maxMemory}
	msg, err := a.Client.Query(ctx, upstream.Attempt{Server: s, Stream: s.IsTLS()}, q)
	if !s.IsTLS() && (err != nil || msg.Truncated) {
		msg, err = a.Client.Query(ctx, upstream.Attempt{Server: s, Stream: true}, q)
	}
	switch {
	case err != nil:
		return nil, err
	case msg.Truncated:
		return nil, errors.New("the reply over TCP is truncated")
	case msg.Rcode != dns.RcodeSuccess && msg.Rcode != dns.RcodeNameError:
		return nil, errors.New(upstream.RcodeName(msg.Rcode))
	}
	answer := &Answer{TTL: maxTTL, Server: s.String(), Authenticated: a.IsSecure(s)}
	for _, rr := range msg.Answer {
		if aaaa, ok := rr.(*dns.AAAA); ok && dns.CanonicalName(aaaa.Hdr.Name) == Name {
			addr, _ := netip.AddrFromSlice(aaaa.AAAA.To16())
			answer.Addrs = append(answer.Addrs, addr)
			answer.TTL = min(answer.TTL, time.Duration(aaaa.Hdr.Ttl)*time.Second)
		}
	}
	if len(answer.Addrs) == 0 {
		answer.TTL = 0
	}
	return answer, nil
}
