package dnssec

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/interop"
	"github.com/mxseal/mxseal/internal/test/interop/dnsserver"
)

// A verdict is the result of one validator for one question.
type verdict struct {
	who    string
	status dnssec.Status
	rcode  int
	data   string // the sorted RRset at the end of the aliases; unknown for delv
	detail string // the reason, for the log
}

// ask asks a validator for a name and type.
type ask func(t *testing.T, name string, rrtype uint16) verdict

// ours asks the validator of this project, which uses the resolver at the port.
func ours(t *testing.T, port int, anchorFile string, sha1 bool) ask {
	t.Helper()
	v, err := dnssec.New(dnssec.Config{
		Servers:    []string{net.JoinHostPort("127.0.0.1", strconv.Itoa(port))},
		AnchorFile: anchorFile,
		SHA1:       sha1,
	})
	if err != nil {
		t.Fatal(err)
	}
	return func(t *testing.T, name string, rrtype uint16) verdict {
		answer, err := v.Lookup(context.Background(), name, dnssec.Type(rrtype))
		var failure *dnssec.Error
		switch {
		case errors.As(err, &failure):
			return verdict{who: "ours", status: failure.Status, detail: err.Error()}
		case err != nil:
			return verdict{who: "ours", detail: "not a *dnssec.Error: " + err.Error()}
		}
		rcode := dns.RcodeSuccess
		if answer.NXDomain {
			rcode = dns.RcodeNameError
		}
		records, err := dnsserver.RRs(answer)
		if err != nil {
			t.Fatal(err)
		}
		return verdict{
			who:    "ours",
			status: answer.Status,
			rcode:  rcode,
			data:   rdata(records, rrtype),
			detail: fmt.Sprintf("at %s, aliases %v", answer.Name, answer.Aliases),
		}
	}
}

// unbound asks a validating unbound, which returns SERVFAIL for a bogus answer
// and sets AD in a secure one.
func unbound(port int) ask {
	return func(t *testing.T, name string, rrtype uint16) verdict {
		query := new(dns.Msg).SetQuestion(name, rrtype)
		query.SetEdns0(1232, true)
		reply, err := dnsserver.Ask(port, query)
		switch {
		case err != nil:
			t.Errorf("ask unbound for %s: %v", name, err)
			return verdict{who: "unbound", detail: err.Error()}
		case reply.Rcode == dns.RcodeServerFailure:
			return verdict{who: "unbound", status: dnssec.Bogus, detail: "SERVFAIL" + extendedErrors(reply)}
		}
		v := verdict{who: "unbound", status: dnssec.Insecure, rcode: reply.Rcode, data: rdata(reply.Answer, rrtype)}
		if reply.AuthenticatedData {
			v.status = dnssec.Secure
		}
		return v
	}
}

func extendedErrors(reply *dns.Msg) string {
	var text strings.Builder
	if opt := reply.IsEdns0(); opt != nil {
		for _, option := range opt.Option {
			if ede, ok := option.(*dns.EDNS0_EDE); ok {
				fmt.Fprintf(&text, ", EDE %d %q", ede.InfoCode, ede.ExtraText)
			}
		}
	}
	return text.String()
}

// delv asks BIND's delv, which queries and validates by itself. delv reports a
// validated denial as a failed resolution ("ncache").
func delv(t *testing.T, port int, anchorFile string) ask {
	t.Helper()
	program := interop.Need(t, "delv")
	return func(t *testing.T, name string, rrtype uint16) verdict {
		out, err := exec.Command(program, "-a", anchorFile, "+root=.", "@127.0.0.1", "-p", strconv.Itoa(port),
			"-t", dns.Type(rrtype).String(), name).CombinedOutput()
		text := strings.TrimSpace(string(out))
		failed := strings.Contains(text, "resolution failed") && !strings.Contains(text, "resolution failed: ncache")
		v := verdict{who: "delv", detail: text}
		switch {
		case failed:
			v.status = dnssec.Bogus
		case err != nil:
			t.Errorf("delv %s: %v\n%s", name, err, text)
		case strings.Contains(text, "unsigned answer"), strings.Contains(text, "negative response, unsigned"):
			v.status = dnssec.Insecure
		case strings.Contains(text, "fully validated"):
			v.status = dnssec.Secure
		}
		return v
	}
}

// bindAnchors returns the trust anchors in the form of BIND's configuration.
func bindAnchors(keys []*dns.DNSKEY) string {
	var text strings.Builder
	text.WriteString("trust-anchors {\n")
	for _, key := range keys {
		fmt.Fprintf(&text, "%q static-key %d %d %d %q;\n",
			key.Hdr.Name, key.Flags, key.Protocol, key.Algorithm, key.PublicKey)
	}
	text.WriteString("};\n")
	return text.String()
}

// rdata returns the data of the records of a type in a comparable form.
func rdata(records []dns.RR, rrtype uint16) string {
	var set []string
	for _, rr := range records {
		if rr.Header().Rrtype == rrtype {
			set = append(set, dataOf(rr))
		}
	}
	slices.Sort(set)
	return strings.ToLower(strings.Join(set, "\n"))
}

// dataOf returns a record without its name and TTL.
func dataOf(rr dns.RR) string {
	bare := dns.Copy(rr)
	bare.Header().Name, bare.Header().Ttl = ".", 0
	return bare.String()
}
