package dane_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/testpki"
)

// world is a Resolver. It answers "name TYPE" as the line says:
//
//	[secure|insecure] [ttl=seconds] [alias!target|alias?target ...] [data ...]
//
// where alias! is a secure step and alias? an insecure one, no data is NODATA,
// and "fail", or no line, is an error. "bogus", "indeterminate" and "nil" are answers
// that no Resolver may return.
type world map[string]string

// asked is a world that notes its questions.
type asked struct {
	world
	mu        sync.Mutex
	questions []string
}

var errServfail = &dnssecError{}

// dnssecError is like the error of a validating resolver.
type dnssecError struct{}

func (*dnssecError) Error() string               { return "SERVFAIL" }
func (*dnssecError) TLSReport() (string, string) { return "dnssec-invalid", "dns-servfail" }

func (a *asked) Lookup(ctx context.Context, name string, qtype dnssec.Type) (*dnssec.Answer, error) {
	key := name + " " + qtype.String()
	a.mu.Lock()
	a.questions = append(a.questions, key)
	a.mu.Unlock()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	fields := strings.Fields(a.world[key])
	if len(fields) == 0 || fields[0] == "fail" {
		return nil, errServfail
	}
	answer := &dnssec.Answer{Name: name, Expires: testpki.Now.Add(time.Hour)}
	switch fields[0] {
	case "secure":
		answer.Status = dnssec.Secure
	case "insecure":
		answer.Status = dnssec.Insecure
	case "bogus":
		answer.Status = dnssec.Bogus
	case "nil":
		return nil, nil
	}
	for i, field := range fields[1:] {
		if from, to, ok := strings.Cut(field, "!"); ok {
			answer.Aliases = append(answer.Aliases, dnssec.Alias{Name: from, Target: to, Status: dnssec.Secure})
		} else if from, to, ok := strings.Cut(field, "?"); ok {
			answer.Aliases = append(answer.Aliases, dnssec.Alias{Name: from, Target: to, Status: dnssec.Insecure})
		} else if seconds, ok := strings.CutPrefix(field, "ttl="); ok {
			ttl, _ := time.ParseDuration(seconds + "s")
			answer.Expires = testpki.Now.Add(ttl)
		} else if qtype == dnssec.TypeTLSA {
			data := strings.Join(fields[1+i:], " ")
			for record := range strings.SplitSeq(data, ",") {
				answer.Records = append(answer.Records, mustRecord(name+" 60 IN TLSA "+record))
			}
			break
		} else {
			answer.Records = append(answer.Records, mustRecord(name+" 60 IN "+qtype.String()+" "+field))
		}
	}
	return answer, nil
}

func mustRecord(s string) dnssec.Record {
	record, err := dnssec.ParseRecord(s)
	if err != nil {
		panic(err)
	}
	return record
}

// tlsaQuestions returns the TLSA names that were looked up, in order.
func (a *asked) tlsaQuestions() []string {
	var names []string
	for _, question := range a.questions {
		if name, ok := strings.CutSuffix(question, " TLSA"); ok {
			names = append(names, name)
		}
	}
	return names
}

var tlsa = "3 1 1 " + strings.Repeat("ab", 32)

// TestDiscover has the cases of RFC 7672 sections 2.1.2, 2.1.3, 2.2.2 and 2.2.3.
func TestDiscover(t *testing.T) {
	t.Parallel()
	const (
		none    = "none"    // DANE requires nothing
		failed  = "failed"  // ErrLookupFailed
		nowhere = "nowhere" // ErrNoAddress
		// ErrLookupFailed because of an answer that no Resolver may return: a fault of the
		// sender's own resolver.
		violated = "violated"
	)
	for _, test := range []struct {
		name  string
		world world
		want  string // the base domain, or one of the above
		// unusable means that no record can be used.
		unusable bool
		asked    string // the TLSA names asked for, without "_25._tcp."
		addrs    string
	}{
		{
			name:  "DANE-53, DANE-57, DANE-27, DANE-31 secure, no alias",
			world: world{"mx.example. A": "secure 192.0.2.1", "mx.example. AAAA": "secure 2001:db8::1", "_25._tcp.mx.example. TLSA": "secure " + tlsa},
			want:  "mx.example", asked: "mx.example.", addrs: "192.0.2.1 2001:db8::1",
		}, {
			name:  "DANE-8, DANE-31, DANE-70 secure, TLSA securely absent",
			world: world{"mx.example. A": "secure 192.0.2.1", "mx.example. AAAA": "secure", "_25._tcp.mx.example. TLSA": "secure"},
			want:  none, asked: "mx.example.", addrs: "192.0.2.1",
		}, {
			name:  "DANE-37 secure, TLSA insecurely absent", // opt-out, or below an insecure delegation
			world: world{"mx.example. A": "secure 192.0.2.1", "mx.example. AAAA": "secure", "_25._tcp.mx.example. TLSA": "insecure"},
			want:  none, asked: "mx.example.", addrs: "192.0.2.1",
		}, {
			name:  "DANE-31, DANE-50, TLSA-12, TLSA-15 secure, TLSA insecure",
			world: world{"mx.example. A": "secure 192.0.2.1", "mx.example. AAAA": "secure", "_25._tcp.mx.example. TLSA": "insecure " + tlsa},
			want:  none, asked: "mx.example.", addrs: "192.0.2.1",
		}, {
			name:  "DANE-15, DANE-18, DANE-33, DANE-51, TLSA-14, TLSA-25 secure, TLSA fails", // field note 1
			world: world{"mx.example. A": "secure 192.0.2.1", "mx.example. AAAA": "secure", "_25._tcp.mx.example. TLSA": "fail"},
			want:  failed, asked: "mx.example.",
		}, {
			name:  "DANE-55 insecure: TLSA is not asked for", // field note 2
			world: world{"mx.example. A": "insecure 192.0.2.1", "mx.example. AAAA": "insecure", "_25._tcp.mx.example. TLSA": "fail"},
			want:  none, addrs: "192.0.2.1",
		}, {
			name:  "DANE-54, DANE-56 no addresses",
			world: world{"mx.example. A": "secure", "mx.example. AAAA": "insecure", "_25._tcp.mx.example. TLSA": "secure " + tlsa},
			want:  nowhere,
		}, {
			name:  "DANE-61 both address lookups fail",
			world: world{"_25._tcp.mx.example. TLSA": "secure " + tlsa},
			want:  failed,
		}, {
			name:  "DANE-63 AAAA fails, A secure", // field note 3
			world: world{"mx.example. A": "secure 192.0.2.1", "mx.example. AAAA": "fail", "_25._tcp.mx.example. TLSA": "secure " + tlsa},
			want:  "mx.example", asked: "mx.example.", addrs: "192.0.2.1",
		}, {
			name:  "DANE-63 A fails, AAAA secure", // field note 3
			world: world{"mx.example. A": "fail", "mx.example. AAAA": "secure 2001:db8::1", "_25._tcp.mx.example. TLSA": "secure"},
			want:  none, asked: "mx.example.", addrs: "2001:db8::1",
		}, {
			name:  "DANE-63, D19 A fails, AAAA insecure",
			world: world{"mx.example. A": "fail", "mx.example. AAAA": "insecure 2001:db8::1"},
			want:  none, addrs: "2001:db8::1",
		}, {
			name:  "DANE-63 A fails, AAAA securely absent",
			world: world{"mx.example. A": "fail", "mx.example. AAAA": "secure"},
			want:  failed,
		}, {
			name:  "DANE-63 A fails, AAAA insecure behind a secure alias, TLSA fails",
			world: world{"mx.example. A": "fail", "mx.example. AAAA": "insecure mx.example.!host.net. 2001:db8::1"},
			want:  failed, asked: "mx.example.",
		}, {
			name:  "an insecure denial of AAAA takes nothing from secure A",
			world: world{"mx.example. A": "secure 192.0.2.1", "mx.example. AAAA": "insecure", "_25._tcp.mx.example. TLSA": "secure " + tlsa},
			want:  "mx.example", asked: "mx.example.", addrs: "192.0.2.1",
		}, {
			name: "DANE-60, DANE-66, OPS-18, OPS-20, OPS-21 secure alias, TLSA at the target", // field note 5
			world: world{"mx.example. A": "secure mx.example.!host.net. 192.0.2.1", "mx.example. AAAA": "secure mx.example.!host.net.",
				"_25._tcp.host.net. TLSA": "secure " + tlsa, "_25._tcp.mx.example. TLSA": "secure 2 0 1 00"},
			want: "host.net", asked: "host.net.", addrs: "192.0.2.1",
		}, {
			name: "DANE-72, OPS-19 secure alias, TLSA at the original name",
			world: world{"mx.example. A": "secure mx.example.!host.net. 192.0.2.1", "mx.example. AAAA": "secure mx.example.!host.net.",
				"_25._tcp.host.net. TLSA": "secure", "_25._tcp.mx.example. TLSA": "secure " + tlsa},
			want: "mx.example", asked: "host.net. mx.example.", addrs: "192.0.2.1",
		}, {
			name: "DANE-68 secure alias, insecure TLSA at the target",
			world: world{"mx.example. A": "secure mx.example.!host.net. 192.0.2.1", "mx.example. AAAA": "secure mx.example.!host.net.",
				"_25._tcp.host.net. TLSA": "insecure " + tlsa, "_25._tcp.mx.example. TLSA": "secure " + tlsa},
			want: "mx.example", asked: "host.net. mx.example.", addrs: "192.0.2.1",
		}, {
			name: "DANE-70 secure alias, TLSA nowhere",
			world: world{"mx.example. A": "secure mx.example.!host.net. 192.0.2.1", "mx.example. AAAA": "secure mx.example.!host.net.",
				"_25._tcp.host.net. TLSA": "secure", "_25._tcp.mx.example. TLSA": "insecure"},
			want: none, asked: "host.net. mx.example.", addrs: "192.0.2.1",
		}, {
			name: "DANE-19 secure alias, TLSA at the target fails",
			world: world{"mx.example. A": "secure mx.example.!host.net. 192.0.2.1", "mx.example. AAAA": "secure mx.example.!host.net.",
				"_25._tcp.host.net. TLSA": "fail", "_25._tcp.mx.example. TLSA": "secure " + tlsa},
			want: failed, asked: "host.net.",
		}, {
			name: "DANE-18 secure alias, TLSA at the original name fails",
			world: world{"mx.example. A": "secure mx.example.!host.net. 192.0.2.1", "mx.example. AAAA": "secure mx.example.!host.net.",
				"_25._tcp.host.net. TLSA": "secure", "_25._tcp.mx.example. TLSA": "fail"},
			want: failed, asked: "host.net. mx.example.",
		}, {
			name: "DANE-74, DANE-71 secure alias, unusable TLSA at the target",
			world: world{"mx.example. A": "secure mx.example.!host.net. 192.0.2.1", "mx.example. AAAA": "secure mx.example.!host.net.",
				"_25._tcp.host.net. TLSA": "secure 3 1 1 00", "_25._tcp.mx.example. TLSA": "secure " + tlsa},
			unusable: true,
			want:     "host.net", asked: "host.net.", addrs: "192.0.2.1",
		}, {
			name: "DANE-73, DANE-94, DANE-56 two secure aliases: the one in between is no candidate",
			world: world{"mx.example. A": "secure mx.example.!mid.example. mid.example.!host.net. 192.0.2.1", "mx.example. AAAA": "secure mx.example.!mid.example. mid.example.!host.net.",
				"_25._tcp.host.net. TLSA": "secure", "_25._tcp.mid.example. TLSA": "secure " + tlsa, "_25._tcp.mx.example. TLSA": "secure"},
			want: none, asked: "host.net. mx.example.", addrs: "192.0.2.1",
		}, {
			name: "DANE-24, DANE-25, DANE-59 secure alias into an insecure zone", // field note 4
			world: world{"mx.example. A": "insecure mx.example.!host.net. 192.0.2.1", "mx.example. AAAA": "insecure mx.example.!host.net.",
				"_25._tcp.mx.example. TLSA": "secure " + tlsa, "_25._tcp.host.net. TLSA": "fail"},
			want: "mx.example", asked: "mx.example.", addrs: "192.0.2.1",
		}, {
			name:  "DANE-23, DANE-58 insecure alias",
			world: world{"mx.example. A": "insecure mx.example.?host.net. 192.0.2.1", "mx.example. AAAA": "insecure mx.example.?host.net."},
			want:  none, addrs: "192.0.2.1",
		}, {
			name: "DANE-23, DANE-59 secure, then insecure alias",
			world: world{"mx.example. A": "insecure mx.example.!mid.example. mid.example.?host.net. 192.0.2.1", "mx.example. AAAA": "insecure mx.example.!mid.example. mid.example.?host.net.",
				"_25._tcp.mx.example. TLSA": "secure"},
			want: none, asked: "mx.example.", addrs: "192.0.2.1",
		}, {
			name: "DANE-67, DANE-69 TLSA name is an alias",
			world: world{"mx.example. A": "secure 192.0.2.1", "mx.example. AAAA": "secure",
				"_25._tcp.mx.example. TLSA": "secure _25._tcp.mx.example.!tlsa._dane.example. " + tlsa},
			want: "mx.example", asked: "mx.example.", addrs: "192.0.2.1",
		}, {
			name: "DANE-68 TLSA name is an alias into an insecure zone",
			world: world{"mx.example. A": "secure 192.0.2.1", "mx.example. AAAA": "secure",
				"_25._tcp.mx.example. TLSA": "insecure _25._tcp.mx.example.!tlsa.net. " + tlsa},
			want: none, asked: "mx.example.", addrs: "192.0.2.1",
		}, {
			name: "A secure, AAAA not: the secure ones count",
			world: world{"mx.example. A": "secure 192.0.2.1", "mx.example. AAAA": "insecure 2001:db8::1",
				"_25._tcp.mx.example. TLSA": "secure"},
			want: none, asked: "mx.example.", addrs: "192.0.2.1",
		}, {
			name: "AAAA secure, A not: the secure ones count",
			world: world{"mx.example. A": "insecure 192.0.2.1", "mx.example. AAAA": "secure 2001:db8::1",
				"_25._tcp.mx.example. TLSA": "secure " + tlsa},
			want: "mx.example", asked: "mx.example.", addrs: "2001:db8::1",
		}, {
			name: "A and AAAA lead over different aliases: A counts",
			world: world{"mx.example. A": "secure mx.example.!four.net. 192.0.2.1", "mx.example. AAAA": "secure mx.example.!six.net. 2001:db8::1",
				"_25._tcp.four.net. TLSA": "secure " + tlsa},
			want: "four.net", asked: "four.net.", addrs: "192.0.2.1",
		}, {
			// A Resolver must not return these; "unknown" is not "none". DANE-4, DANE-5.
			name:  "TLSA answer that is bogus and no error",
			world: world{"mx.example. A": "secure 192.0.2.1", "mx.example. AAAA": "secure", "_25._tcp.mx.example. TLSA": "bogus"},
			want:  violated, asked: "mx.example.",
		}, {
			name:  "DANE-4 TLSA answer without status",
			world: world{"mx.example. A": "secure 192.0.2.1", "mx.example. AAAA": "secure", "_25._tcp.mx.example. TLSA": "indeterminate"},
			want:  violated, asked: "mx.example.",
		}, {
			name:  "no TLSA answer and no error",
			world: world{"mx.example. A": "secure 192.0.2.1", "mx.example. AAAA": "secure", "_25._tcp.mx.example. TLSA": "nil"},
			want:  violated, asked: "mx.example.",
		}, {
			name:  "address answers without status",
			world: world{"mx.example. A": "indeterminate 192.0.2.1", "mx.example. AAAA": "indeterminate"},
			want:  violated,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			resolver := &asked{world: test.world}
			host, err := dane.Discover(t.Context(), resolver, "MX.example", 25)
			switch {
			case test.want == failed || test.want == violated:
				if !errors.Is(err, dane.ErrLookupFailed) || host != nil {
					t.Fatalf("got %+v, %v, want a failed lookup", host, err)
				}
				want := "dnssec-invalid" // AMB-16
				if test.want == violated {
					want = ""
				}
				expectReport(t, test.name, err, want)
			case test.want == nowhere:
				if !errors.Is(err, dane.ErrNoAddress) || errors.Is(err, dane.ErrLookupFailed) || host != nil {
					t.Fatalf("got %+v, %v, want no address", host, err)
				}
				expectReport(t, test.name, err, "")
			case err != nil:
				t.Fatal(err)
			case test.want == none:
				if host.BaseDomain != "" || host.Records != nil || host.Usable != nil {
					t.Fatalf("base domain %q, records %v, want none", host.BaseDomain, host.Records)
				}
				want := dane.NoRecords
				if test.asked == "" {
					want = dane.NotApplicable
				}
				if host.State != want {
					t.Fatalf("state %v, want %v", host.State, want)
				}
			case host.BaseDomain != test.want || len(host.Records) == 0:
				t.Fatalf("base domain %q, records %v, want %q", host.BaseDomain, host.Records, test.want)
			case host.State == dane.Unusable != test.unusable || host.State == dane.Usable == test.unusable || len(host.Usable) > 0 == test.unusable:
				t.Fatalf("state %v with usable records %v", host.State, host.Usable)
			}
			var questions []string
			for _, name := range strings.Fields(test.asked) {
				questions = append(questions, "_25._tcp."+name)
			}
			if got := resolver.tlsaQuestions(); !slices.Equal(got, questions) {
				t.Errorf("asked for TLSA at %q, want %q", got, questions)
			}
			if host != nil {
				if got := strings.Trim(fmt.Sprint(host.Addrs), "[]"); got != test.addrs {
					t.Errorf("addresses %s, want %s", got, test.addrs)
				}
				if len(host.Lookups) != len(resolver.questions) || host.Name != "mx.example" {
					t.Errorf("%d lookups noted of %d, name %q", len(host.Lookups), len(resolver.questions), host.Name)
				}
			}
		})
	}
}

// DANE-63, D19: every combination of what the lookups of the two families give, with a
// TLSA lookup that fails. Each family counts by its own status.
func TestD19EachFamilyCountsByItsStatus(t *testing.T) {
	t.Parallel()
	type outcome struct {
		what, answer string
		rank         int // 0 if there are no addresses
		failed       bool
	}
	outcomes := []outcome{
		{"failed", "fail", 0, true},
		{"securely denied", "secure", 0, false},
		{"insecurely denied", "insecure", 0, false},
		{"insecure", "insecure ADDR", 1, false},
		{"insecure behind an insecure alias", "insecure mx.example.?host.net. ADDR", 1, false},
		{"insecure behind a secure alias", "insecure mx.example.!host.net. ADDR", 2, false},
		{"secure", "secure ADDR", 3, false},
		{"secure behind a secure alias", "secure mx.example.!host.net. ADDR", 3, false},
	}
	for _, four := range outcomes {
		for _, six := range outcomes {
			for _, records := range []string{"fail", "secure", "secure " + tlsa} {
				name := fmt.Sprintf("A %s, AAAA %s, TLSA %.8s", four.what, six.what, records)
				resolver := &asked{world: world{
					"mx.example. A":             strings.ReplaceAll(four.answer, "ADDR", "192.0.2.1"),
					"mx.example. AAAA":          strings.ReplaceAll(six.answer, "ADDR", "2001:db8::1"),
					"_25._tcp.mx.example. TLSA": records,
					"_25._tcp.host.net. TLSA":   records,
				}}
				host, err := dane.Discover(t.Context(), resolver, "mx.example", 25)
				required := max(four.rank, six.rank) > 1
				if got := len(resolver.tlsaQuestions()) > 0; got != required {
					t.Errorf("%s: asked for TLSA %v, want %v", name, got, required)
				}
				switch {
				case four.rank == 0 && six.rank == 0 && (four.failed || six.failed), required && records == "fail":
					if !errors.Is(err, dane.ErrLookupFailed) {
						t.Errorf("%s: %+v, %v; want a failed lookup", name, host, err)
					}
				case four.rank == 0 && six.rank == 0:
					if !errors.Is(err, dane.ErrNoAddress) {
						t.Errorf("%s: %+v, %v; want no address", name, host, err)
					}
				case err != nil:
					t.Errorf("%s: %v", name, err)
				default:
					want := dane.NotApplicable
					if required {
						want = dane.NoRecords
						if records != "secure" {
							want = dane.Usable
						}
					}
					if host.State != want {
						t.Errorf("%s: %v, want %v", name, host.State, want)
					}
					for _, addr := range host.Addrs {
						if rank := map[bool]int{true: four.rank, false: six.rank}[addr.Is4()]; rank != max(four.rank, six.rank) {
							t.Errorf("%s: %v counts, although DANE can do less for it", name, addr)
						}
					}
				}
			}
		}
	}
}

// ahead is a resolver that looks up TLSA records early.
type ahead struct {
	*asked
	early func() (*dnssec.Answer, error)
	ended chan struct{}
}

func (a *ahead) LookupAhead(ctx context.Context, _ dnssec.Resolver, name string, qtype dnssec.Type) func() (*dnssec.Answer, error) {
	context.AfterFunc(ctx, func() { close(a.ended) })
	return a.early
}

// TLSA records that are looked up together with the addresses count only where the
// addresses require them, and are not waited for elsewhere. A failure of the early
// lookup alone is no failure.
func TestDiscoverAsksForTLSAAhead(t *testing.T) {
	t.Parallel()
	forever := func() (*dnssec.Answer, error) { select {} }
	found := func() (*dnssec.Answer, error) {
		return &dnssec.Answer{Status: dnssec.Secure, Expires: testpki.Now, Records: []dnssec.Record{mustRecord("_25._tcp.mx.example. 60 IN TLSA " + tlsa)}}, nil
	}
	fails := func() (*dnssec.Answer, error) { return nil, errServfail }
	for _, test := range []struct {
		name    string
		address string
		late    string // the answer to a TLSA query that is not early
		early   func() (*dnssec.Answer, error)
		state   dane.State
		failed  bool
	}{
		{"required", "secure 192.0.2.1", "fail", found, dane.Usable, false},
		{"not required", "insecure 192.0.2.1", "fail", forever, dane.NotApplicable, false},
		{"found, but does not count", "insecure 192.0.2.1", "fail", found, dane.NotApplicable, false},
		{"no addresses", "secure", "fail", forever, 0, true},
		{"the early lookup alone fails", "secure 192.0.2.1", "secure " + tlsa, fails, dane.Usable, false},
		{"both fail", "secure 192.0.2.1", "fail", fails, 0, true},
		{"nothing is known", "secure 192.0.2.1", "secure " + tlsa, nil, dane.Usable, false},
		{"behind an alias, at the target", "secure mx.example.!host.net. 192.0.2.1", "secure " + tlsa, forever, dane.Usable, false},
	} {
		resolver := &ahead{&asked{world: world{"mx.example. A": test.address, "mx.example. AAAA": "secure",
			"_25._tcp.mx.example. TLSA": test.late, "_25._tcp.host.net. TLSA": test.late}}, test.early, make(chan struct{})}
		host, err := dane.Discover(t.Context(), resolver, "mx.example", 25)
		if test.failed != (err != nil) || !test.failed && host.State != test.state {
			t.Errorf("%s: %+v, %v", test.name, host, err)
		}
		<-resolver.ended
	}
}

// Field note 11, DANE-29, DANE-71, OPS-35, TLSA-21: records of which none is usable are
// different from no records.
func TestDiscoverUnusableIsNotAbsent(t *testing.T) {
	t.Parallel()
	resolver := &asked{world: world{"mx.example. A": "secure 192.0.2.1", "mx.example. AAAA": "secure",
		"_25._tcp.mx.example. TLSA": "secure 1 1 1 00,3 1 1 00,9 9 9 ab"}}
	host, err := dane.Discover(t.Context(), resolver, "mx.example", 25)
	if err != nil {
		t.Fatal(err)
	}
	if host.State != dane.Unusable || len(host.Records) != 3 || len(host.Usable) != 0 || host.BaseDomain != "mx.example" {
		t.Errorf("got %v, %v, usable %v at %q", host.State, host.Records, host.Usable, host.BaseDomain)
	}
}

// Field note 12, DANE-101, OPS-38, TLSA-27, TLSA-28: nothing outlives its TTL, not
// even a denial.
func TestDiscoverExpiresWithTTL(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		a, aaaa, tlsa string
		want          time.Duration
	}{
		{"secure ttl=10 192.0.2.1", "secure ttl=20", "secure ttl=30 " + tlsa, 10 * time.Second},
		{"secure ttl=20 192.0.2.1", "secure ttl=10", "secure ttl=30 " + tlsa, 10 * time.Second},
		{"secure ttl=30 192.0.2.1", "secure ttl=20", "secure ttl=10", 10 * time.Second},
		{"secure ttl=30 192.0.2.1", "fail", "secure ttl=40 " + tlsa, 30 * time.Second},
	} {
		resolver := &asked{world: world{"mx.example. A": test.a, "mx.example. AAAA": test.aaaa, "_25._tcp.mx.example. TLSA": test.tlsa}}
		host, err := dane.Discover(t.Context(), resolver, "mx.example", 25)
		if err != nil {
			t.Fatal(err)
		}
		if got := host.Expires.Sub(testpki.Now); got != test.want {
			t.Errorf("%+v: expires in %v, want %v", test, got, test.want)
		}
	}
	_, err := dane.Discover(t.Context(), &asked{world: world{"mx.example. A": "secure ttl=9", "mx.example. AAAA": "secure ttl=7"}}, "mx.example", 25)
	var noAddress *dane.Error
	if !errors.As(err, &noAddress) || !errors.Is(err, dane.ErrNoAddress) || noAddress.Temporary() || noAddress.Expires.Sub(testpki.Now) != 7*time.Second || len(noAddress.Lookups) != 2 {
		t.Errorf("got %+v", err)
	}
}

// DANE-65, TLSA-11: the port that is connected to.
func TestDiscoverAsksForPort(t *testing.T) {
	t.Parallel()
	resolver := &asked{world: world{"mx.example. A": "secure 192.0.2.1", "mx.example. AAAA": "secure", "_2525._tcp.mx.example. TLSA": "secure " + tlsa}}
	host, err := dane.Discover(t.Context(), resolver, "mx.example.", 2525)
	if err != nil || host.BaseDomain != "mx.example" {
		t.Errorf("got %+v, %v", host, err)
	}
}

// DANE-35, DANE-36: an address is not a name, and nothing is looked up.
func TestDiscoverAddressLiteral(t *testing.T) {
	t.Parallel()
	for _, literal := range []string{"192.0.2.1", "192.0.2.1.", "[192.0.2.1]", "2001:db8::1", "[2001:db8::1]", "[IPv6:2001:db8::1]", "fe80::1%eth0"} {
		resolver := &asked{}
		if _, err := dane.Discover(t.Context(), resolver, literal, 25); !errors.Is(err, dane.ErrAddressLiteral) {
			t.Errorf("%q: %v", literal, err)
		}
		if len(resolver.questions) != 0 {
			t.Errorf("%q: asked %q", literal, resolver.questions)
		}
	}
}

// TLSA-10: names are looked up in A-labels.
func TestDiscoverAsksInALabels(t *testing.T) {
	t.Parallel()
	resolver := &asked{world: world{"mx.xn--bcher-kva.example. A": "insecure 192.0.2.1", "mx.xn--bcher-kva.example. AAAA": "insecure"}}
	host, err := dane.Discover(t.Context(), resolver, "mx.B\u00fccher.example", 25)
	if err != nil || host.Name != "mx.xn--bcher-kva.example" {
		t.Errorf("got %+v, %v", host, err)
	}
	for _, name := range []string{"", ".", "a..b", strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 200), "\xff.example", "b\u00fc cher.example"} {
		resolver := &asked{}
		if _, err := dane.Discover(t.Context(), resolver, name, 25); !errors.Is(err, dane.ErrDomain) || len(resolver.questions) != 0 {
			t.Errorf("%q: error %v, asked %q", name, err, resolver.questions)
		}
	}
}

// A host may have a name of 255 octets (RFC 1035 section 2.3.4), which is too long for that
// of TLSA records below it. There are none then, and none are asked for.
func TestDiscoverLongNames(t *testing.T) {
	t.Parallel()
	for octets := 240; octets <= 255; octets++ {
		host := strings.Repeat("a.", 118) + strings.Repeat("b", octets-2*118-2)
		resolver := &asked{world: world{host + ". A": "secure 192.0.2.1", host + ". AAAA": "secure",
			"_25._tcp." + host + ". TLSA": "secure " + tlsa}}
		found, err := dane.Discover(t.Context(), resolver, host, 25)
		if err != nil {
			t.Fatal(err)
		}
		fits := octets+len("_25._tcp.") <= 255
		if found.State != dane.NoRecords && !fits || found.State != dane.Usable && fits || fits != (len(resolver.tlsaQuestions()) > 0) {
			t.Errorf("%d octets: %v, asked %q", octets, found.State, resolver.tlsaQuestions())
		}
	}
}

// DANE-20: a step that a DNAME makes counts like a CNAME.
func TestDiscoverDNAME(t *testing.T) {
	t.Parallel()
	step := []dnssec.Alias{{Name: "mx.example.", Target: "mx.example.net.", DNAME: true, Status: dnssec.Secure}}
	resolver := resolverFunc(func(name string, qtype dnssec.Type) (*dnssec.Answer, error) {
		answer := &dnssec.Answer{Name: name, Status: dnssec.Secure, Expires: testpki.Now}
		switch {
		case name == "mx.example.":
			answer.Name, answer.Aliases = "mx.example.net.", step
			if qtype == dnssec.TypeAAAA {
				answer.Records = []dnssec.Record{mustRecord("mx.example.net. 60 IN AAAA 2001:db8::1")}
			}
		case name == "_25._tcp.mx.example.net." && qtype == dnssec.TypeTLSA:
			answer.Records = []dnssec.Record{mustRecord(name + " 60 IN TLSA " + tlsa)}
		}
		return answer, nil
	})
	host, err := dane.Discover(t.Context(), resolver, "mx.example", 25)
	if err != nil || host.BaseDomain != "mx.example.net" || !slices.Equal(host.Aliases, step) {
		t.Errorf("got %+v, %v", host, err)
	}
}

// The caller's context ends the lookups, which is no failure of the domain.
func TestDiscoverEndsWithContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := dane.Discover(ctx, &asked{}, "mx.example", 25)
	if !errors.Is(err, context.Canceled) || errors.Is(err, dane.ErrLookupFailed) {
		t.Errorf("got %v", err)
	}
	expectReport(t, "canceled", err, "")
}

// DANE-15, DANE-61: the error has the lookups, and the reason code of the
// resolver's error.
func TestLookupError(t *testing.T) {
	t.Parallel()
	resolver := &asked{world: world{"mx.example. A": "secure 192.0.2.1", "mx.example. AAAA": "secure", "_25._tcp.mx.example. TLSA": "fail"}}
	_, err := dane.Discover(t.Context(), resolver, "mx.example", 25)
	var failed *dane.Error
	if !errors.As(err, &failed) || !errors.Is(err, dane.ErrLookupFailed) || !errors.Is(err, errServfail) || !failed.Temporary() || failed.Host != "mx.example" {
		t.Fatalf("got %v", err)
	}
	if _, code := failed.TLSReport(); code != "dns-servfail" {
		t.Errorf("reason code %q", code)
	}
	if len(failed.Lookups) != 3 || failed.Lookups[2].Type != dnssec.TypeTLSA || failed.Lookups[2].Err == nil || failed.Lookups[0].Answer == nil {
		t.Errorf("lookups: %+v", failed.Lookups)
	}
}

// The text of an error is one printable line, whatever the resolver says and however
// many lookups failed.
func TestLookupErrorIsOneLine(t *testing.T) {
	t.Parallel()
	resolver := resolverFunc(func(name string, qtype dnssec.Type) (*dnssec.Answer, error) {
		return nil, errors.New(qtype.String() + " refused\r\n\x1b[31m")
	})
	_, err := dane.Discover(t.Context(), resolver, "mx.example", 25)
	if !errors.Is(err, dane.ErrLookupFailed) {
		t.Fatalf("got %v", err)
	}
	for _, r := range err.Error() {
		if r < ' ' || r > '~' {
			t.Fatalf("not one printable line: %q", err.Error())
		}
	}
	for _, want := range []string{"A refused", "AAAA refused"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not have %q", err.Error(), want)
		}
	}
}

// An answer of another type than that of the query is a failed lookup.
func TestDiscoverWrongType(t *testing.T) {
	t.Parallel()
	resolver := resolverFunc(func(name string, qtype dnssec.Type) (*dnssec.Answer, error) {
		return &dnssec.Answer{Name: name, Status: dnssec.Secure, Expires: testpki.Now, Records: []dnssec.Record{mustRecord(name + " 60 IN A 192.0.2.1")}}, nil
	})
	if host, err := dane.Discover(t.Context(), resolver, "mx.example", 25); !errors.Is(err, dane.ErrLookupFailed) {
		t.Errorf("got %+v, %v", host, err)
	}
}

type resolverFunc func(name string, qtype dnssec.Type) (*dnssec.Answer, error)

func (f resolverFunc) Lookup(_ context.Context, name string, qtype dnssec.Type) (*dnssec.Answer, error) {
	return f(name, qtype)
}

// Addresses looks up no TLSA records, and one family is enough.
func TestAddressesAsksForNoTLSA(t *testing.T) {
	t.Parallel()
	resolver := &asked{world: world{"mx.example. A": "insecure 192.0.2.1", "mx.example. AAAA": "fail"}}
	host, err := dane.Addresses(t.Context(), resolver, "mx.example")
	if err != nil || !slices.Equal(host.Addrs, []netip.Addr{netip.MustParseAddr("192.0.2.1")}) || host.AddrStatus != dnssec.Insecure {
		t.Errorf("got %+v, %v", host, err)
	}
	if len(resolver.tlsaQuestions()) != 0 || host.State != dane.Unknown {
		t.Errorf("asked %q, state %v", resolver.questions, host.State)
	}
	if _, err := dane.Addresses(t.Context(), &asked{world: world{"mx.example. A": "secure"}}, "mx.example"); !errors.Is(err, dane.ErrLookupFailed) {
		t.Errorf("A denied and AAAA failed: %v", err)
	}
	if _, err := dane.Addresses(t.Context(), &asked{world: world{"mx.example. A": "secure", "mx.example. AAAA": "secure"}}, "mx.example"); !errors.Is(err, dane.ErrNoAddress) {
		t.Errorf("both denied: %v", err)
	}
}

// R1, AMB-16: the failed lookup of a host is reported if one of its families is bogus, or if
// the domain's own servers answer SERVFAIL for the TLSA records behind secure addresses.
func TestR1FailedLookups(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name          string
		a, aaaa, tlsa dnssec.Reason // 0 for success
		foreign       bool
		want          string
	}{
		{"TLSA bogus", 0, 0, dnssec.SignatureExpired, false, "bogus-signature-expired"},
		{"TLSA SERVFAIL", 0, 0, dnssec.ServerFailure, false, "dns-servfail"},
		{"TLSA timeout", 0, 0, dnssec.Timeout, false, ""},
		{"TLSA refused by the resolver", 0, 0, dnssec.Refused, false, ""},
		{"TLSA and a busy host", 0, 0, dnssec.Busy, false, ""},
		{"TLSA and an error without a reason", 0, 0, dnssec.ServerFailure, true, ""},
		{"one family bogus, then TLSA timeout", dnssec.SignatureExpired, 0, dnssec.Timeout, false, ""},
		{"both families SERVFAIL", dnssec.ServerFailure, dnssec.ServerFailure, 0, false, ""},
		{"one family silent, the other bogus", dnssec.Timeout, dnssec.DenialMissing, 0, false, "bogus-denial-missing"},
		{"one family bogus, the other silent", dnssec.DenialMissing, dnssec.Timeout, 0, false, "bogus-denial-missing"},
	} {
		resolver := resolverFunc(func(name string, qtype dnssec.Type) (*dnssec.Answer, error) {
			reason := map[dnssec.Type]dnssec.Reason{dnssec.TypeA: test.a, dnssec.TypeAAAA: test.aaaa, dnssec.TypeTLSA: test.tlsa}[qtype]
			failed := &dnssec.Error{Name: name, Type: qtype, Reason: reason}
			switch {
			case reason == 0:
				return (&asked{world: world{name + " " + qtype.String(): map[dnssec.Type]string{
					dnssec.TypeA: "secure 192.0.2.1", dnssec.TypeAAAA: "secure 2001:db8::1", dnssec.TypeTLSA: "secure",
				}[qtype]}}).Lookup(t.Context(), name, qtype)
			case test.foreign:
				return nil, errors.New(failed.Error())
			case strings.HasPrefix(reason.String(), "bogus-"):
				failed.Status = dnssec.Bogus
			}
			return nil, failed
		})
		_, err := dane.Discover(t.Context(), resolver, "mx.example.org", 25)
		var failed *dane.Error
		if !errors.As(err, &failed) || !errors.Is(err, dane.ErrLookupFailed) {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if resultType, code := failed.TLSReport(); (resultType == "dnssec-invalid") != (test.want != "") || test.want != "" && code != test.want || code == "" {
			t.Errorf("%s: reported as %q, %q, want %q", test.name, resultType, code, test.want)
		}
	}
}
