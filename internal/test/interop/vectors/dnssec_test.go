package vectors

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/test/dnsvectors"
	"github.com/mxseal/mxseal/internal/test/interop"
	"github.com/mxseal/mxseal/internal/test/interop/daemon"
	"github.com/mxseal/mxseal/internal/test/interop/dnsserver"
)

// unbound returns the status of each DNSSEC vector, or the other one that the vector
// permits. It reads as many as docs/vectors.md says. Without MXSEAL_INTEROP=1 it is asked
// every eighth.
func TestDNSSECVectorsInUnbound(t *testing.T) {
	t.Parallel()
	f := dnsvectors.Read(t, "../../../../dane/dnssec/testdata/vectors.json")
	if cases := documented(t)["dane/dnssec/testdata"]; cases != len(f.Cases) {
		t.Errorf("%d vectors, and docs/vectors.md says %d", len(f.Cases), cases)
	}
	server := dnsvectors.Serve(t)
	u := &unbound{dir: t.TempDir(), forward: server.Addr}
	step := 8
	if interop.Complete() {
		step = 1
	} else {
		interop.NotCompared(t, "seven of eight DNSSEC vectors; MXSEAL_INTEROP=1 compares them")
	}
	asked, also := 0, 0
	for i := 0; i < len(f.Cases); i += step {
		c := &f.Cases[i]
		server.Use(t, f, c)
		u.configure(t, c)
		asked++
		switch got := u.ask(t, c); {
		case got.status == "secure" && c.Status == "secure" && (got.rcode == dns.RcodeNameError != c.NXDomain || got.records != len(c.Records)):
			t.Errorf("%s, %s %s: %s and %d records, want NXDOMAIN %v and %d", c.What, c.Name, c.Type,
				dns.RcodeToString[got.rcode], got.records, c.NXDomain, len(c.Records))
		case got.status == c.Status:
		case got.status == c.Also:
			also++
		default:
			t.Errorf("%s, %s %s: %s (%s), want %s", c.What, c.Name, c.Type, got.status, got.detail, c.Status)
		}
	}
	t.Logf("%d vectors, %d with the other status that they permit", asked, also)
}

// unbound is a running unbound that asks the server of the vectors.
type unbound struct {
	dir, forward string
	*daemon.Daemon
	port    int
	anchors string
	time    time.Time
}

// configure gives it the trust anchors and the time of a case, and empties its cache.
func (u *unbound) configure(t *testing.T, c *dnsvectors.Case) {
	t.Helper()
	anchors := strings.Join(c.Anchors, "\n") + "\n"
	isSame := anchors == u.anchors && c.Time.Equal(u.time)
	u.anchors, u.time = anchors, c.Time
	switch {
	case u.Daemon == nil:
		u.port = daemon.FreePort(t)
		u.writeConfig(t)
		u.Daemon = daemon.Start(t, u.ready, interop.Need(t, "unbound"), "-d", "-c", u.file("unbound.conf"))
	case isSame:
		dnsserver.Control(t, u.dir, "flush_zone .")
		dnsserver.Control(t, u.dir, "flush_infra all")
	default:
		u.writeConfig(t)
		dnsserver.Control(t, u.dir, "reload")
	}
}

func (u *unbound) file(name string) string { return filepath.Join(u.dir, name) }

func (u *unbound) writeConfig(t *testing.T) {
	t.Helper()
	dnsserver.WriteFile(t, u.file("anchors"), u.anchors)
	host, port, err := net.SplitHostPort(u.forward)
	if err != nil {
		t.Fatal(err)
	}
	clause := dnsserver.UnboundClause("127.0.0.1", u.port, u.dir, u.file("anchors"))
	dnsserver.WriteFile(t, u.file("unbound.conf"), clause+fmt.Sprintf(`	val-override-date: %q
	val-log-level: 2
	ede: yes
	val-sig-skew-min: 0
	val-sig-skew-max: 0
	root-key-sentinel: no
	aggressive-nsec: no
	qname-minimisation: no
	minimal-responses: no
	prefetch: no
	serve-expired: no
forward-zone:
	name: "."
	forward-addr: %s@%s
`, u.time.Format("20060102150405"), host, port)+dnsserver.ControlClause(u.dir))
}

// ready asks for a name that no case has.
func (u *unbound) ready() error {
	_, err := dnsserver.Ask(u.port, new(dns.Msg).SetQuestion("ready.invalid.", dns.TypeA))
	return err
}

// verdict is what unbound says about a case.
type verdict struct {
	status         string
	rcode, records int
	detail         string
}

func (u *unbound) ask(t *testing.T, c *dnsvectors.Case) verdict {
	t.Helper()
	query := new(dns.Msg).SetQuestion(c.Name, dns.StringToType[c.Type])
	query.SetEdns0(1232, true)
	reply, err := dnsserver.Ask(u.port, query)
	for range 4 { // on a busy machine, and during a reload, it can fail several times
		if err != nil {
			reply, err = dnsserver.Ask(u.port, query)
		}
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s", c.What, err, u.Log())
	}
	got := verdict{status: "insecure", rcode: reply.Rcode}
	for _, rr := range reply.Answer {
		if rr.Header().Rrtype == dns.StringToType[c.Type] {
			got.records++
		}
	}
	switch {
	case reply.Rcode == dns.RcodeServerFailure:
		got.status = "bogus"
		for _, option := range reply.IsEdns0().Option {
			got.detail += option.String()
		}
	case reply.AuthenticatedData:
		got.status = "secure"
	}
	return got
}
