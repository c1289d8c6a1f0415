package dnssec

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/memory"
	"github.com/mxseal/mxseal/dane/dnssec/internal/proof"
	"github.com/mxseal/mxseal/dane/dnssec/internal/upstream"
)

// TrustingConfig configures a Trusting. The zero value means the servers of
// /etc/resolv.conf, which must have loopback addresses, and the option trust-ad beside
// them.
type TrustingConfig struct {
	// Servers are validating servers, in the form of Config.Servers. Each must have
	// a loopback address or be reached over TLS. To name a server here is to vouch for
	// it: that it validates, and that nobody can forge the answers it gets from the
	// servers that it asks in turn, which matters for 127.0.0.11 (Docker), 127.0.0.53
	// and 127.0.0.54 (systemd-resolved). Empty means the servers in ResolvConf.
	Servers []string
	// ResolvConf is read if Servers is empty, and read again when it changes. Its
	// servers are used only if the file has "options trust-ad", because a container or
	// a DHCP client may have written it. Those at 127.0.0.11, 127.0.0.53 and 127.0.0.54
	// are not used even then. Empty means /etc/resolv.conf.
	//
	// The other fields are as in Config. A discovered NAT64 prefix is accepted from all
	// servers, because they are trusted.
	ResolvConf    string
	NAT64         netip.Prefix
	DiscoverNAT64 bool
	HostsFile     string
	TLS           *tls.Config
	Dial          func(ctx context.Context, network, addr string) (net.Conn, error)
	Now           func() time.Time
	Timeout       time.Duration
	CacheBytes    int
	// Bounds bounds what all lookups hold together.
	Bounds Bounds
}

// Trusting is a Resolver that leaves validation to a server and trusts its AD bit
// (RFC 4035 section 4.9.3, RFC 7672 section 2.1.1). Answers are then only as
// reliable as the server and the connection to it, so the server must be on this
// host or be authenticated by TLS. Most users want a [Validator], which trusts no
// server.
//
// A server that does not validate is never used. A Trusting asks each server for the
// SOA record of the root, which is signed, before the first lookup and once a minute
// after that. If the AD bit is missing, lookups go to the other servers, and fail with
// [NotValidating] if there is none.
//
// A Trusting is safe for concurrent use.
type Trusting struct {
	front
	limits Limits // the defaults
}

// NewTrusting returns a Trusting. It returns an error if someone on the network
// could impersonate one of the servers.
func NewTrusting(config TrustingConfig) (*Trusting, error) {
	if t := config.TLS; t != nil && t.InsecureSkipVerify && t.VerifyConnection == nil {
		return nil, errors.New("dnssec: TrustingConfig.TLS does not verify certificates, so anyone could impersonate the server; set RootCAs to its issuer instead")
	}
	limits := Limits{}.withDefaults()
	front, err := newFront(upstream.Config{
		Servers:    config.Servers,
		ResolvConf: config.ResolvConf,
		Permit:     upstream.Trustworthy,
		Dial:       config.Dial,
		TLS:        config.TLS,
		Options:    upstream.Options{Timeout: config.Timeout},
		Records:    limits.Records,
		WantAD:     true,
		Bounds:     upstream.Bounds(config.Bounds),
	}, config.Now, config.CacheBytes, limits.Duration)
	if err != nil {
		return nil, err
	}
	front.host, err = newLocal(&front, config.HostsFile, config.NAT64, config.DiscoverNAT64, func(*upstream.Server) bool { return true })
	if err != nil {
		return nil, err
	}
	return &Trusting{front, limits}, nil
}

// Close is like [Validator.Close].
func (t *Trusting) Close() error { return t.client.Close() }

// Stats returns what the lookups did so far, and what they hold now.
func (t *Trusting) Stats() Stats { return t.front.stats(nil) }

// vouchTime is how long a server counts as validating after it has shown it.
const vouchTime = time.Minute

// vouch returns an error unless the server sets the AD bit for the root zone. It asks
// the server, unless it did so recently.
func (t *Trusting) vouch(ctx context.Context, lease *upstream.Lease, to upstream.Attempt) error {
	if to.Server.IsVouchedFor(time.Now(), vouchTime) {
		return nil
	}
	root := question{".", dns.TypeSOA}
	r, err := t.exchange(ctx, lease, to, root)
	switch {
	case err != nil:
		return err
	case !r.ad || r.answer.Find(root.name, root.rtype) == nil:
		return r.blame(failure(root, NotValidating, "no AD bit for the root zone, which is signed"))
	}
	to.Server.VouchFor(time.Now())
	return nil
}

// Lookup returns the records of the type at name, or their absence. The answer is
// Secure if the server sets the AD bit in all replies that it is made of.
func (t *Trusting) Lookup(ctx context.Context, name string, rtype Type) (*Answer, error) {
	q, err := newQuestion(name, rtype)
	if err != nil {
		return nil, err
	}
	if t.host == nil {
		return t.answer(ctx, q)
	}
	return t.host.lookup(ctx, q, func(q question) (*Answer, error) { return t.answer(ctx, q) })
}

// NAT64 is like [Validator.NAT64].
func (t *Trusting) NAT64() netip.Prefix { return t.host.known() }

// Recall is like [Validator.Recall].
func (t *Trusting) Recall(name string, rt Type) (*Answer, bool, error) { return t.recall(name, rt) }

// answer is Lookup, except for what the host says.
func (t *Trusting) answer(ctx context.Context, q question) (*Answer, error) {
	if a, err := t.cached(q); a != nil || err != nil {
		return a, err
	}
	return t.front.lookup(ctx, q, func(ctx context.Context, lease *upstream.Lease) (*Answer, error) {
		a, err := t.lookup(ctx, lease, q, nil)
		if err == nil {
			t.cache.Put(q.key(memory.Answer), a, a.size(), a.Expires, t.now())
		}
		return a, err
	})
}

// lookup asks for q. If the reply ends in an alias, it also asks for the target.
func (t *Trusting) lookup(ctx context.Context, lease *upstream.Lease, q question, so path) (*Answer, error) {
	r, err := t.ask(ctx, lease, q)
	if err != nil {
		return nil, err
	}
	status := Insecure
	if r.ad {
		status = Secure
	}
	a, open, err := r.unvalidated(q, so, t.limits.Aliases, status, t.now(), func(question) bool { return true })
	if err != nil {
		return nil, err
	}
	if len(a.Aliases) > 0 && a.Status != Secure && len(so) == 0 {
		if err := t.judgeFirst(ctx, lease, a); err != nil {
			return nil, err
		}
	}
	if !open {
		return a, nil
	}
	rest, err := t.lookup(ctx, lease, question{a.Name, q.rtype}, append(slices.Clip(so), a.Aliases...))
	if err != nil {
		return nil, err
	}
	return a.followedBy(rest), nil
}

// judgeFirst asks for the first alias separately, because it may be secure even if
// the whole answer is not (RFC 7672 section 2.1.3).
func (t *Trusting) judgeFirst(ctx context.Context, lease *upstream.Lease, a *Answer) error {
	first := &a.Aliases[0]
	r, err := t.ask(ctx, lease, question{first.Name, dns.TypeCNAME})
	if err != nil {
		return err
	}
	set := r.answer.Find(first.Name, dns.TypeCNAME)
	if set == nil {
		return nil
	}
	if target, err := proof.CNAMETarget(set); r.ad && err == nil && target == first.Target {
		first.Status = Secure
	}
	return nil
}

// ask asks the servers. Only a server that validates is asked.
func (t *Trusting) ask(ctx context.Context, lease *upstream.Lease, q question) (*reply, error) {
	servers, problem := t.client.Servers()
	if len(servers) == 0 {
		return nil, failure(q, NotValidating, "no server may be trusted").noting(problem)
	}
	r, failures, _ := t.askThese(ctx, lease, q, servers, "")
	if ctx.Err() != nil {
		return nil, interrupted(q, ctx.Err())
	}
	if r == nil {
		return nil, summary(q, failures)
	}
	return r, nil
}

// askThese returns a reply, or why there is none, and the attempts made. An answer that
// is not authenticated does not outweigh a possibly bogus answer of another server. From a
// server that was asked in parallel with slower ones it counts only if these have nothing
// to say; otherwise, what they say counts.
func (t *Trusting) askThese(ctx context.Context, lease *upstream.Lease, q question, servers []*upstream.Server, tried upstream.Tried) (*reply, []*Error, upstream.Tried) {
	race := upstream.Race[*reply]{Name: q.name, Servers: servers, Apex: ".", Tried: tried}
	race.Ask = func(ctx context.Context, to upstream.Attempt) (*reply, error) { return t.askOne(ctx, lease, to, q) }
	var failures []*Error
	for outweighed := false; ; {
		o, err := race.Run(ctx, t.client)
		if err != nil {
			return nil, addFailures(failures, q, []error{err}), race.Tried
		}
		failures, race.Tried = addFailures(failures, q, o.Failures), o.Tried
		r := o.Reply
		if r != nil && !r.ad && len(o.Overtaken) > 0 {
			slower, reasons, tried := t.askThese(ctx, lease, q, o.Overtaken, o.Tried)
			if slower != nil {
				return slower, nil, tried
			}
			failures, race.Tried = append(failures, reasons...), tried
			outweighed = outweighed || !silence(reasons)
		}
		outweighed = outweighed || slices.ContainsFunc(failures, mayBeBogus)
		if r == nil || r.ad || !outweighed {
			return r, failures, race.Tried
		}
		e := r.blame(failure(q, ServerFailure, "another server failed, and the answer of this server is not authenticated"))
		failures, race.Tried = addFailures(failures, q, []error{e}), race.Tried.With(o.By, false)
	}
}

// askOne asks one server, if it validates.
func (t *Trusting) askOne(ctx context.Context, lease *upstream.Lease, to upstream.Attempt, q question) (r *reply, err error) {
	if err = t.vouch(ctx, lease, to); err == nil {
		r, err = t.exchange(ctx, lease, to, q)
	}
	e := new(Error)
	if !errors.As(err, &e) {
		return r, err
	}
	if e.concernsServer() {
		to.Server.Poor(q.name, time.Now())
	}
	if e.Name != q.name {
		e = e.within(q)
		e.Server = to.Server.String()
	}
	return nil, e
}

func (t *Trusting) exchange(ctx context.Context, lease *upstream.Lease, to upstream.Attempt, q question) (*reply, error) {
	msg, err := t.client.Exchange(ctx, to, upstream.Question{Name: q.name, Type: q.rtype, Memory: t.limits.Memory / 2})
	if err != nil {
		return nil, err
	}
	if err := lease.Grow(msg.Memory); err != nil {
		return nil, err
	}
	return newReply(msg, q)
}

// mayBeBogus reports whether a validating server answers like this if the data is
// bogus (RFC 4035 section 5.5).
func mayBeBogus(e *Error) bool { return e.Reason == ServerFailure }

// LookupTXT is like the method of *net.Resolver, over the answers of the server.
func (t *Trusting) LookupTXT(ctx context.Context, name string) ([]string, error) {
	txts, _, err := LookupTXT(ctx, t, name)
	return txts, err
}

// LookupTXTUntil is [LookupTXT] with this Resolver.
func (t *Trusting) LookupTXTUntil(ctx context.Context, name string) ([]string, time.Time, error) {
	return LookupTXT(ctx, t, name)
}

// LookupNetIP is like the method of *net.Resolver, over the answers of the server.
func (t *Trusting) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return LookupNetIP(ctx, t, network, host)
}
