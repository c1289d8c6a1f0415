package collector

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mxseal/mxseal/internal/test/await"
	"github.com/mxseal/mxseal/tlsrpt"
)

var now = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// These have the form of the datagrams of Postfix 3.10.13 with libtlsrpt 0.5.0rc1, which has no dpv, and of
// Postfix 3.11.6 with libtlsrpt 0.5.1rc2.
const (
	success = `{"d":"Example.ORG","pr":"v=TLSRPTv1;rua=mailto:a@example.org","policies":[{"policy-type":1,"policy-domain":"mx.example.org","policy-string":["3 1 1 AB01"],"t":0,"f":0}]}`
	failed  = `{"dpv":"1","d":"example.org","pr":"v=TLSRPTv1;rua=mailto:a@example.org","policies":[{"policy-type":2,"policy-domain":"example.org","policy-string":["version: STSv1","mode: enforce"],"mx-host":["*.example.org"],"failure-details":[{"c":203,"s":"192.0.2.1","n":"mx.example.org","h":"250-mx.example.org at your service\r\n250-PIPELINING\r\n250 SIZE","r":"2001:db8::25","f":"self-signed_certificate"}],"t":1,"f":1}]}`
)

func TestDecodePostfixDatagrams(t *testing.T) {
	details := func(codes ...int) string {
		var all []string
		for _, code := range codes {
			all = append(all, fmt.Sprintf(`{"c":%d}`, code))
		}
		return `{"d":"example.org","policies":[{"policy-type":9,"policy-domain":"example.org","failure-details":[` + strings.Join(all, ",") + `],"t":1,"f":1}]}`
	}
	none := tlsrpt.Policy{Type: tlsrpt.NoPolicyFound, Domain: "example.org"}
	for _, test := range []struct {
		name, octets string
		want         *tlsrpt.Session
	}{
		{"success without dpv", success, &tlsrpt.Session{Domain: "example.org", Time: now, Outcomes: []tlsrpt.Outcome{
			{Policy: tlsrpt.Policy{Type: tlsrpt.TLSA, Domain: "mx.example.org", Strings: []string{"3 1 1 AB01"}}}}}},
		{"failure with dpv", failed, &tlsrpt.Session{
			Domain: "example.org", Time: now, MXHost: "mx.example.org", HELO: "mx.example.org",
			SendingIP: netip.MustParseAddr("192.0.2.1"), ReceivingIP: netip.MustParseAddr("2001:db8::25"),
			Outcomes: []tlsrpt.Outcome{{
				Policy:   tlsrpt.Policy{Type: tlsrpt.STS, Domain: "example.org", Strings: []string{"version: STSv1", "mode: enforce"}, MXHosts: []string{"*.example.org"}},
				Failures: []tlsrpt.Failure{{Type: tlsrpt.CertificateNotTrusted, ReasonCode: "self-signed_certificate"}},
			}}}},
		{"an error of the sender is not reported", details(901), nil},
		{"and does not hide another", details(901, 201), &tlsrpt.Session{Domain: "example.org", Time: now, Outcomes: []tlsrpt.Outcome{
			{Policy: none, Failures: []tlsrpt.Failure{{Type: tlsrpt.STARTTLSNotSupported}}}}}},
	} {
		got, err := decode([]byte(test.octets), now)
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v, %v, want %+v", test.name, got, err, test.want)
		}
	}
	for code, want := range map[int]tlsrpt.ResultType{
		201: "starttls-not-supported", 202: "certificate-host-mismatch", 203: "certificate-not-trusted", 204: "certificate-expired",
		205: "validation-failure", 301: "sts-policy-fetch-error", 302: "sts-policy-invalid", 303: "sts-webpki-invalid",
		304: "tlsa-invalid", 305: "dnssec-invalid", 306: "dane-required",
	} {
		got, err := decode([]byte(details(code)), now)
		if err != nil || got.Outcomes[0].Failures[0].Type != want {
			t.Errorf("%d: %+v, %v", code, got, err)
		}
	}
}

func TestDecodeRefusesInvalidDatagrams(t *testing.T) {
	for _, octets := range []string{
		"", "{}", "[]", `{"d":"example.org"}`, `{"d":"example.org","policies":[]}`,
		strings.Replace(success, `"f":0`, `"f":2`, 1), strings.Replace(success, `,"f":0`, "", 1),
		strings.Replace(success, `"policy-type":1`, `"policy-type":3`, 1), strings.Replace(success, "Example.ORG", "192.0.2.1", 1),
		strings.Replace(success, "mx.example.org", "..", 1), strings.Replace(failed, "203", "299", 1), strings.Replace(failed, `"dpv":"1"`, `"dpv":"2"`, 1),
		strings.Replace(success, `"3 1 1 AB01"`, "7", 1), success[:len(success)-2],
		`{"d":"example.org","policies":[` + strings.Repeat(`{"policy-type":9,"policy-domain":"a.b","f":0},`, 16) + `{"policy-type":9,"policy-domain":"a.b","f":0}]}`,
	} {
		if s, err := decode([]byte(octets), now); err == nil {
			t.Errorf("%.80q is %+v", octets, s)
		}
	}
}

// Texts of servers are in the datagrams. What a report shows of them is printable.
func FuzzDecode(f *testing.F) {
	for _, text := range []string{success, failed, `{"d":"a.b","policies":[{"policy-type":9,"policy-domain":"a.b","failure-details":[{"c":203,"h":"\xff\u0000","f":"\n"}],"f":1}]}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, octets []byte) {
		s, err := decode(octets, now)
		if err != nil || s == nil {
			return
		}
		texts := []string{s.Domain, s.MXHost, s.HELO}
		for _, o := range s.Outcomes {
			texts = append(texts, o.Policy.Domain)
			for _, failure := range o.Failures {
				texts = append(texts, failure.ReasonCode)
				if failure.Type == "" {
					t.Errorf("a failure without type in %q", octets)
				}
			}
		}
		for _, text := range texts {
			if len(text) > 255 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("%q in %q", text, octets)
			}
		}
		if _, err := json.Marshal(s); err != nil {
			t.Error(err)
		}
	})
}

// The queue of the kernel has room for ten datagrams. The collector loses none of many that come at once.
func TestRunLosesNoneOfManyDatagrams(t *testing.T) {
	const senders, each = 8, 200
	var mu sync.Mutex
	recorded := 0
	c := New(tlsrpt.RecorderFunc(func(*tlsrpt.Session) {
		mu.Lock()
		defer mu.Unlock()
		recorded++
	}), slog.New(slog.DiscardHandler), time.Now)
	path := filepath.Join(t.TempDir(), "s")
	socket, err := net.ListenPacket("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		c.Run(ctx, socket)
		close(done)
	}()
	var sending sync.WaitGroup
	for range senders {
		sending.Go(func() {
			conn, err := net.Dial("unixgram", path)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			for i := range each {
				text := []string{success, failed, "{", strings.Replace(failed, `"dpv":"1"`, `"dpv":"2"`, 1)}[i%4]
				if _, err := conn.Write([]byte(text)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	sending.Wait()
	want := Counts{OK: senders * each / 2, Malformed: senders * each / 4, Version: senders * each / 4}
	await.Until(t, "all datagrams are counted", func() bool { return c.Counts() == want })
	stop()
	<-done
	if recorded != senders*each/2 {
		t.Errorf("%d sessions", recorded)
	}
	if conn, err := net.Dial("unixgram", path); err == nil {
		if _, err := conn.Write([]byte(success)); err == nil {
			t.Error("the socket is still open")
		}
	}
}
