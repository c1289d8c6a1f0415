package dnssec

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/proof"
	"github.com/mxseal/mxseal/dane/dnssec/internal/upstream"
	"github.com/mxseal/mxseal/internal/flight"
)

// TrustingConfig configures a Trusting.
type TrustingConfig struct {
	// Servers are validating servers, in the forms of Config.Servers. Each must
	// have a loopback address or be reached over TLS. Empty: those of
	// ResolvConf, which must then be such.
	Servers    []string
	ResolvConf string // default: /etc/resolv.conf
	// TLS is a template for connections to "tls://" servers, for its RootCAs.
	// The name to verify comes from Servers. Nil: the system's roots.
	TLS *tls.Config
	// Dial, Now, Timeout and CacheBytes are as in Config.
	Dial       func(ctx context.Context, network, addr string) (net.Conn, error)
	Now        func() time.Time
	Timeout    time.Duration
	CacheBytes int
}

// Trusting is a Resolver that leaves validation to a server and believes its
// AD bit (RFC 4035 section 4.9.3, RFC 7672 section 2.1.1). That is only as good
// as the server and the way to it, so it must be on this host or authenticated
// by TLS. Most users want a Validator, which trusts nobody.
type Trusting struct {
	client  *upstream.Client
	now     func() time.Time
	cache   *cache
	lookups flight.Group[question, *Answer]
}

// NewTrusting returns a Trusting. It refuses servers that anybody on the
// network could impersonate.
func NewTrusting(config TrustingConfig) (*Trusting, error) {
	if t := config.TLS; t != nil && t.InsecureSkipVerify && t.VerifyConnection == nil {
		return nil, errors.New("dnssec: TrustingConfig.TLS does not verify certificates, so that anyone could be the server; give its issuer in RootCAs")
	}
	limits := Limits{}.withDefaults()
	client, err := upstream.New(upstream.Config{
		Servers:    config.Servers,
		ResolvConf: config.ResolvConf,
		Permit:     trustworthy,
		Dial:       config.Dial,
		TLS:        config.TLS,
		Timeout:    config.Timeout,
		Records:    limits.Records,
		WantAD:     true,
	})
	if err != nil {
		return nil, fmt.Errorf("dnssec: %w", err)
	}
	return &Trusting{
		client:  client,
		now:     clock(config.Now),
		cache:   newCache(cacheBytes(config.CacheBytes)),
		lookups: flight.Group[question, *Answer]{Limit: limits.Duration},
	}, nil
}

// Close closes the connections over TLS to the servers. Later lookups that need a
// server return an *Error that wraps net.ErrClosed. Close may be called more than once.
func (t *Trusting) Close() error { return t.client.Close() }

// trustworthy refuses a server whose AD bit anybody on the network can forge.
func trustworthy(s *upstream.Server) error {
	if s.IsLoopback() || s.IsTLS() {
		return nil
	}
	return fmt.Errorf("the AD bit of DNS server %s can be forged by anyone on the way: "+
		"use a server on this host, \"tls://%s\", or a Validator", s, s.Addr())
}

// Lookup returns the records of the type at name; the answer is Secure if the
// server says so for all of it.
func (t *Trusting) Lookup(ctx context.Context, name string, rtype Type) (*Answer, error) {
	q, err := newQuestion(name, rtype)
	if err != nil {
		return nil, err
	}
	if a, ok := t.cache.get(cacheKey{q.name, q.rtype, cachedAnswer}, t.now()).(*Answer); ok {
		return a, nil
	}
	f := t.lookups.Join(ctx, q, func(ctx context.Context) (*Answer, error) {
		a, err := t.lookup(ctx, q, nil)
		if err == nil {
			t.cache.put(cacheKey{q.name, q.rtype, cachedAnswer}, a, a.size(), a.Expires, t.now())
		}
		return a, err
	})
	defer t.lookups.Leave(q, f)
	a, err := f.Wait(ctx)
	if err != nil && ctx.Err() != nil {
		return nil, interrupted(q, ctx.Err())
	}
	return a, err
}

// lookup asks, and asks again at the target where the reply ends in an alias.
func (t *Trusting) lookup(ctx context.Context, q question, so path) (*Answer, error) {
	r, err := t.ask(ctx, q)
	if err != nil {
		return nil, err
	}
	a, open, err := t.answer(q, so, r)
	if err != nil {
		return nil, err
	}
	if len(a.Aliases) > 0 && a.Status != Secure && len(so) == 0 {
		if err := t.judgeFirst(ctx, a); err != nil {
			return nil, err
		}
	}
	if !open {
		return a, nil
	}
	rest, err := t.lookup(ctx, question{a.Name, q.rtype}, append(slices.Clip(so), a.Aliases...))
	if err != nil {
		return nil, err
	}
	return a.followedBy(rest), nil
}

// judgeFirst asks for the first alias by itself: it may be secure where the
// whole answer is not (RFC 7672 section 2.1.3).
func (t *Trusting) judgeFirst(ctx context.Context, a *Answer) error {
	first := &a.Aliases[0]
	r, err := t.ask(ctx, question{first.Name, dns.TypeCNAME})
	if err != nil {
		return err
	}
	set := r.answer.find(first.Name, dns.TypeCNAME)
	if set == nil {
		return nil
	}
	if target, err := cnameTarget(set); r.ad && err == nil && target == first.Target {
		first.Status = Secure
	}
	return nil
}

func (t *Trusting) ask(ctx context.Context, q question) (*reply, error) {
	var failures []*Error
	servers, _ := t.client.Servers()
	for _, to := range upstream.Attempts(servers, time.Now()) {
		if to.Stream && !worthStream(failures, to.Server) {
			continue
		}
		var r *reply
		bounded, cancel := context.WithTimeout(ctx, t.client.Timeout())
		msg, err := t.client.Exchange(bounded, to, upstream.Question{Name: q.name, Type: q.rtype})
		cancel()
		if err == nil {
			r, err = newReply(msg, q)
		}
		if err == nil && !r.ad && slices.ContainsFunc(failures, mayBeBogus) {
			// Another server's word that the name is insecure does not undo it.
			err = r.blame(failure(q, ServerFailure, "another server failed, and this one does not call its answer authentic"))
		}
		if err == nil {
			return r, nil
		}
		if ctx.Err() != nil {
			return nil, interrupted(q, ctx.Err())
		}
		e := asError(q, err)
		if e.concernsServer() {
			to.Server.Failed(time.Now())
		}
		failures = addFailure(failures, e)
	}
	return nil, summary(q, failures)
}

// mayBeBogus reports whether the failure is how a validating server says that
// an answer is bogus (RFC 4035 section 5.5).
func mayBeBogus(e *Error) bool { return e.Reason == ServerFailure }

// answer reads a reply. Its one AD bit speaks for all records in it.
func (t *Trusting) answer(q question, so path, r *reply) (a *Answer, open bool, err error) {
	status := Insecure
	if r.ad {
		status = Secure
	}
	now := t.now()
	a = &Answer{Name: q.name, Status: status, Expires: after(now, proof.MaxTTL)}
	for {
		set := r.answer.find(a.Name, q.rtype)
		if set != nil {
			if err := r.present(question{a.Name, q.rtype}); err != nil {
				return nil, false, err
			}
			a.Expires = earliest(a.Expires, after(now, set.TTL()))
			return a, false, a.hold(set, a.Expires.Sub(now))
		}
		cname := r.answer.find(a.Name, dns.TypeCNAME)
		if cname == nil {
			break
		}
		target, err := cnameTarget(cname)
		if err != nil {
			return nil, false, err
		}
		step := Alias{Name: a.Name, Target: target, DNAME: r.dname(a.Name) != nil, Status: status}
		if so, err = so.follow(step, q, Limits{}.withDefaults().Aliases); err != nil {
			return nil, false, err
		}
		a.Aliases = append(a.Aliases, step)
		a.Expires = earliest(a.Expires, after(now, cname.TTL()))
		a.Name = target
	}
	if len(a.Aliases) > 0 {
		return a, true, nil
	}
	if r.isReferral() {
		return nil, false, failure(q, NoRecursion, "the server refers to other servers instead of answering")
	}
	a.deny(r.rcode)
	a.Expires = earliest(a.Expires, after(now, r.negativeTTL()))
	return a, false, nil
}

// LookupTXT is like the method of *net.Resolver.
func (t *Trusting) LookupTXT(ctx context.Context, name string) ([]string, error) {
	txts, _, err := LookupTXT(ctx, t, name)
	return txts, err
}

// LookupTXTUntil is LookupTXT that also says when the records, or their
// absence, expire.
func (t *Trusting) LookupTXTUntil(ctx context.Context, name string) ([]string, time.Time, error) {
	return LookupTXT(ctx, t, name)
}

// LookupNetIP is like the method of *net.Resolver.
func (t *Trusting) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return LookupNetIP(ctx, t, network, host)
}
