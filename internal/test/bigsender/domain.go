//go:build linux

package bigsender

import (
	"fmt"
	"strconv"
	"strings"
)

// topLevels is the number of top-level domains, and providers that of the hosting
// companies that receive the mail of most domains.
const (
	topLevels = 20
	providers = 20
)

// kind is what a domain publishes, and what must happen to its mail.
type kind int

const (
	plain     kind = iota // unsigned, without policy
	signed                // signed, without TLSA records
	daneHosts             // signed, with TLSA records for its hosts
	enforced              // an MTA-STS policy in mode enforce
	inTesting             // an MTA-STS policy in mode testing
	bogus                 // signatures that do not verify
	wrongKey              // TLSA records of another key
	noPolicy              // a _mta-sts record, and a policy host without policy
	notListed             // an enforced policy that lists other hosts
	noTLS                 // an enforced policy, and a host without STARTTLS
	down                  // a host that refuses connections
	nullMX                // RFC 7505
	noAnswer              // SERVFAIL for the TLSA records
	expired               // an enforced policy, and a host whose certificate expired
	cleartext             // a host without STARTTLS, and no policy
	kinds
)

func (k kind) String() string {
	return [kinds]string{
		"plain", "signed", "dane", "enforce", "testing", "bogus", "wrong key", "no policy", "not listed",
		"no TLS", "down", "null MX", "no answer", "expired", "cleartext",
	}[k]
}

// share is how many of a thousand domains are of each kind.
func share() [kinds]int {
	return [kinds]int{
		plain: 700, signed: 120, daneHosts: 80, enforced: 60, inTesting: 20,
		bogus: 2, wrongKey: 2, noPolicy: 2, notListed: 2, noTLS: 2, down: 2, nullMX: 2, noAnswer: 2, expired: 2, cleartext: 2,
	}
}

// ownShare is how many of a hundred domains have mail hosts of their own.
const ownShare = 20

// domain is one of the recipient domains. All its facts follow from its number.
type domain int

// mix spreads the numbers of domains over the facts. The constants are those of the
// generator SplitMix64.
func (d domain) mix(salt uint64) uint64 {
	x := uint64(d)*0x9e3779b97f4a7c15 + salt*0xd1342543de82ef95
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func (d domain) kind() kind {
	at := int(d.mix(1) % 1000)
	for k, n := range share() {
		if at -= n; at < 0 {
			return kind(k)
		}
	}
	panic("bigsender: the shares do not add up to a thousand")
}

func (d domain) name() string { return fmt.Sprintf("d%d.t%d", int(d), int(d)%topLevels) }

// domainOf returns the domain that a DNS name is in, or false.
func domainOf(name string) (domain, bool) {
	labels := strings.Split(strings.TrimSuffix(name, "."), ".")
	if len(labels) < 2 {
		return 0, false
	}
	digits, ok := strings.CutPrefix(labels[len(labels)-2], "d")
	number, err := strconv.Atoi(digits)
	return domain(number), ok && err == nil
}

// hasOwnHost reports whether the domain has a mail host of its own: a few have, and so
// do those whose fault is one of the host.
func (d domain) hasOwnHost() bool {
	switch d.kind() {
	case wrongKey, noTLS, down, noAnswer, expired, cleartext:
		return true
	}
	return d.mix(2)%100 < ownShare
}

// provider returns the provider that receives the mail of the domain. The first half
// of the providers publishes TLSA records.
func (d domain) provider() int {
	p := int(d.mix(3) % providers)
	switch d.kind() {
	case daneHosts:
		return p % (providers / 2)
	case signed:
		return providers/2 + p%(providers/2)
	}
	return p
}

func providerHost(p, i int) string { return fmt.Sprintf("mx%d.provider%d.hosting", i, p) }

// hosts returns the mail hosts of the domain, best first.
func (d domain) hosts() []string {
	if d.hasOwnHost() {
		return []string{"mx." + d.name()}
	}
	return []string{providerHost(d.provider(), 1), providerHost(d.provider(), 2)}
}

// isSigned reports whether the zone of the domain is signed.
func (d domain) isSigned() bool {
	switch d.kind() {
	case signed, daneHosts, bogus, wrongKey, noAnswer:
		return true
	}
	return false
}

// policyMode returns the mode of the domain's MTA-STS policy, or "".
func (d domain) policyMode() string {
	switch d.kind() {
	case enforced, notListed, noTLS, expired:
		return "enforce"
	case inTesting:
		return "testing"
	}
	return ""
}

// wantsReports reports whether the domain has a TLSRPT record that can be read.
func (d domain) wantsReports() bool { return d.mix(4)%10 == 0 && d.kind() != bogus }

// ending is what finally happens to the mail for a domain.
type ending int

const (
	arrives ending = iota // sooner or later
	waits                 // until the sender gives up
	bounces               // at once
)

func (d domain) ending() ending {
	switch d.kind() {
	case bogus, wrongKey, notListed, noTLS, down, noAnswer, expired:
		return waits
	case nullMX:
		return bounces
	}
	return arrives
}
