package postfix_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/fakedns"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy"
)

const domain = "example.org"

// mx is a mail host, and what DNS says about it.
type mx struct {
	name string
	// preference is that of the MX record; 0 means ten more than the host before it.
	preference int
	insecure   bool // the zone of the host is not signed
	tlsa       []string
	tlsaFails  bool
	addrFails  bool
	noAddr     bool
}

// world is what DNS and the policy host of a domain say.
type world struct {
	insecureMX bool
	hosts      []mx
	mode       mtasts.Mode // of the MTA-STS policy
	listed     []string    // its patterns
	extra      string      // more lines of it
	unreadable bool        // the store of policies
}

// key returns a TLSA record whose digest is made of one octet.
func key(parameters string, octet byte) string {
	return parameters + " " + strings.Repeat(fmt.Sprintf("%02x", octet), 32)
}

// pin returns how a policy writes that digest.
func pin(octet byte) string {
	return strings.TrimSuffix(strings.Repeat(fmt.Sprintf("%02x:", octet), 32), ":")
}

func (w world) dns(t testing.TB) fakedns.Answers {
	t.Helper()
	answers := fakedns.Answers{}
	status := func(insecure bool) dnssec.Status {
		if insecure {
			return dnssec.Insecure
		}
		return dnssec.Secure
	}
	var records []string
	preference := 0
	for _, h := range w.hosts {
		if preference += 10; h.preference != 0 {
			preference = h.preference
		}
		records = append(records, fmt.Sprintf("%s. MX %d %s.", domain, preference, h.name))
		s := status(h.insecure)
		name := h.name + "."
		switch {
		case h.addrFails:
			answers[fakedns.Key(name, dnssec.TypeA)], answers[fakedns.Key(name, dnssec.TypeAAAA)] = nil, nil
		case h.noAddr:
			answers.Deny(s, fakedns.Key(name, dnssec.TypeA), fakedns.Key(name, dnssec.TypeAAAA))
		default:
			answers.Add(t, s, name+" A 192.0.2.1")
			answers.Deny(s, fakedns.Key(name, dnssec.TypeAAAA))
		}
		at := "_25._tcp." + name
		switch {
		case h.tlsaFails:
			answers[fakedns.Key(at, dnssec.TypeTLSA)] = nil
		case h.tlsa != nil:
			var all []string
			for _, data := range h.tlsa {
				all = append(all, at+" TLSA "+data)
			}
			answers.Add(t, s, all...)
		default:
			answers.Deny(s, fakedns.Key(at, dnssec.TypeTLSA))
		}
	}
	if records != nil {
		answers.Add(t, status(w.insecureMX), records...)
	}
	return answers
}

func (w world) text() string {
	text := "version: STSv1\nmode: " + string(w.mode) + "\n"
	for _, pattern := range w.listed {
		text += "mx: " + pattern + "\n"
	}
	return text + "max_age: 604800\n" + w.extra
}

// Get makes a world a store that remembers the policy of the domain.
func (w world) Get(_ context.Context, name string) (mtasts.Entry, error) {
	switch now := time.Now(); {
	case w.unreadable:
		return mtasts.Entry{}, fakedns.ErrServFail
	case name != domain || w.mode == "":
		return mtasts.Entry{}, mtasts.ErrNotStored
	default:
		return mtasts.Entry{
			Domain: domain, ID: "1", Text: w.text(), Used: true,
			Fetched: now.Add(-time.Hour), Expires: now.Add(100 * time.Hour), NextCheck: now.Add(time.Hour),
		}, nil
	}
}

func (w world) Put(context.Context, mtasts.Entry) error { return nil }
func (w world) Delete(context.Context, string) error    { return nil }
func (w world) All(context.Context) iter.Seq2[mtasts.Entry, error] {
	return func(func(mtasts.Entry, error) bool) {}
}

// resolve returns what a Resolver says about the domain.
func (w world) resolve(t testing.TB, config policy.Config, options ...policy.Option) (*policy.Plan, error) {
	t.Helper()
	config.DNS, config.Store, config.RootCAs = w.dns(t), w, x509.NewCertPool()
	resolver, err := policy.New(config)
	if err != nil {
		t.Fatal(err)
	}
	defer resolver.Close()
	return resolver.Resolve(t.Context(), domain, options...)
}
