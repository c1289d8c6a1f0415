package delivery

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mxseal/mxseal/policy"
)

// send sends a message to the hosts and returns what became of x@example.org, as
// failures has it.
func (w *world) send(t *testing.T, hosts ...mailHost) string {
	t.Helper()
	d := w.dialer()
	d.Resolver = w.published(t, hosts...)
	err := d.SendMail(t.Context(), "s@example.net", []string{"x@example.org"}, []byte(letter), w.options...)
	return strings.Join(failures(t, err), "; ")
}

// SMTP-2: S2: HELO is for servers that do not know EHLO, and not for those that refuse it
// temporarily (decision on RFC 5321 section 4.1.1.1).
func TestS2NoHELOAfterATemporaryReply(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		level    policy.Level
		ehlo     string
		helo     string
		hears    string
		nextHost bool
	}{
		{policy.Opportunistic, "450 not now", "250 ok", "EHLO QUIT", true},
		{policy.Opportunistic, "421 busy", "250 ok", "EHLO", true},
		{policy.Opportunistic, "451", "250", "EHLO QUIT", true},
		{policy.Opportunistic, "499 what", "250 ok", "EHLO QUIT", true},
		{policy.Opportunistic, "354 what", "250 ok", "EHLO QUIT", true},
		{policy.Opportunistic, "500 what", "450 not now", "EHLO HELO QUIT", true},
		{policy.Opportunistic, "500 what", "421 busy", "EHLO HELO", true},
		{policy.Opportunistic, "500 what", "550 no", "EHLO HELO QUIT", true},
		{policy.Opportunistic, "500 what", "250 ok", "EHLO HELO MAIL RCPT DATA . QUIT", false},
		{policy.Opportunistic, "599", "250", "EHLO HELO MAIL RCPT DATA . QUIT", false},
		{policy.Encrypted, "500 what", "250 ok", "EHLO QUIT", true},
		{policy.Authenticated, "502 what", "250 ok", "EHLO QUIT", true},
		{policy.Authenticated, "450 not now", "250 ok", "EHLO QUIT", true},
	} {
		t.Run(fmt.Sprintf("%v %s %s", tt.level, tt.ehlo, tt.helo), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(map[string][]script{
					"192.0.2.1": {answering(map[string]string{"EHLO": tt.ehlo + "\r\n", "HELO": tt.helo + "\r\n"})},
					"192.0.2.2": {withTLS(certificates().good)},
				})
				if got := w.send(t, at(tt.level, "192.0.2.1"), at(tt.level, "192.0.2.2")); got != "" {
					t.Error(got)
				}
				if got := verbs(w.said("192.0.2.1")); got != tt.hears {
					t.Errorf("server heard %s, want %s", got, tt.hears)
				}
				if next := slices.Contains(w.said("192.0.2.2"), "."); next != tt.nextHost {
					t.Errorf("the next host got the message: %v, want %v", next, tt.nextHost)
				}
			})
		})
	}
}

// verbs returns the commands that a server heard, with "." for a message.
func verbs(heard []string) string {
	var found []string
	for _, line := range heard {
		verb, _, _ := strings.Cut(line, " ")
		if slices.Contains([]string{"EHLO", "HELO", "STARTTLS", "TLS", "MAIL", "RCPT", "DATA", ".", "RSET", "QUIT"}, verb) {
			found = append(found, verb)
		}
	}
	return strings.Join(found, " ")
}

// SMTP-16, SMTP-34, EAI-7: S20: a host name without a dot is not a name in the DNS, so EHLO
// has the address instead (RFC 5321 section 4.1.4). S23: reports do not disclose addresses
// behind a NAT.
func TestS20AndS23TheSendersAddress(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ hostname, local, ehlo, reported string }{
		{"mail.example.com", "192.0.2.5", "mail.example.com", "192.0.2.5"},
		{"vm", "192.0.2.5", "[192.0.2.5]", "192.0.2.5"},
		{"vm", "2001:db8::5", "[IPv6:2001:db8::5]", "2001:db8::5"},
		{"vm", "::ffff:192.0.2.5", "[192.0.2.5]", "192.0.2.5"},
		{"vm", "fe80::1%eth0", "[IPv6:fe80::1]", ""},
		{"vm", "10.1.2.3", "[10.1.2.3]", ""},
		{"vm", "::ffff:10.1.2.3", "[10.1.2.3]", ""},
		{"vm", "172.16.0.1", "[172.16.0.1]", ""},
		{"vm", "172.32.0.1", "[172.32.0.1]", "172.32.0.1"},
		{"vm", "192.168.1.1", "[192.168.1.1]", ""},
		{"vm", "100.64.0.1", "[100.64.0.1]", ""},
		{"vm", "100.127.255.255", "[100.127.255.255]", ""},
		{"vm", "100.128.0.0", "[100.128.0.0]", "100.128.0.0"},
		{"vm", "169.254.1.1", "[169.254.1.1]", ""},
		{"vm", "127.0.0.1", "[127.0.0.1]", ""},
		{"vm", "::1", "[IPv6:::1]", ""},
		{"vm", "fd00::1", "[IPv6:fd00::1]", ""},
		{"", "192.0.2.5", "[192.0.2.5]", "192.0.2.5"},
		{"a_b", "192.0.2.5", "[192.0.2.5]", "192.0.2.5"},
		{"vm.", "192.0.2.5", "[192.0.2.5]", "192.0.2.5"},
		{"mail.example.com.", "192.0.2.5", "mail.example.com", "192.0.2.5"},
		{"Mail.Example.COM", "192.0.2.5", "mail.example.com", "192.0.2.5"},
		{"bücher.example", "192.0.2.5", "xn--bcher-kva.example", "192.0.2.5"},
		{"localhost.localdomain", "192.0.2.5", "[192.0.2.5]", "192.0.2.5"},
		{"vm.localhost", "192.0.2.5", "[192.0.2.5]", "192.0.2.5"},
		{"vm.local", "192.0.2.5", "[192.0.2.5]", "192.0.2.5"},
		{"ip-10-0-0-1.ec2.internal", "192.0.2.5", "[192.0.2.5]", "192.0.2.5"},
		{"internal.example.com", "192.0.2.5", "internal.example.com", "192.0.2.5"},
		{"192.168.1.1", "192.0.2.5", "[192.0.2.5]", "192.0.2.5"},
		{"my_vm.example.com", "192.0.2.5", "[192.0.2.5]", "192.0.2.5"},
		{"a b.example.com", "192.0.2.5", "[192.0.2.5]", "192.0.2.5"},
		{"vm.example.com\r\nMAIL", "192.0.2.5", "[192.0.2.5]", "192.0.2.5"},
		{"vm", "192.0.0.4", "[192.0.0.4]", ""},
		{"vm", "192.0.1.4", "[192.0.1.4]", "192.0.1.4"},
		{"vm", "0.0.0.0", "[0.0.0.0]", ""},
		{"vm", "fec0::1", "[IPv6:fec0::1]", ""},
		{"vm", "fc00::1", "[IPv6:fc00::1]", ""},
		{"vm", "172.31.255.255", "[172.31.255.255]", ""},
		{"vm", "", "localhost", ""},
	} {
		var local netip.Addr
		if tt.local != "" {
			local = netip.MustParseAddr(tt.local).Unmap()
		}
		if got := ehloName(tt.hostname, local); got != tt.ehlo {
			t.Errorf("host name %q, address %s: EHLO %s, want %s", tt.hostname, tt.local, got, tt.ehlo)
		}
		got := reportedAddr(local)
		if got.IsValid() != (tt.reported != "") || got.IsValid() && got.String() != tt.reported {
			t.Errorf("reports have %v for %s, want %q", got, tt.local, tt.reported)
		}
	}
	configured := Dialer{SendingIP: netip.MustParseAddr("10.1.2.3")}
	if got := configured.sendingIP(nil); got != configured.SendingIP {
		t.Errorf("the configured address became %v", got)
	}
}

// S22: where no policy demands TLS, octets after the reply to STARTTLS do not stop the
// mail. It goes over another connection, in TLS if it is clear where the reply ends.
func TestS22MoreThanOneReplyToSTARTTLS(t *testing.T) {
	t.Parallel()
	for name, reply := range map[string]string{
		"two replies":     "220 go\r\n220 go\r\n",
		"another reply":   "220 go\r\n250 ok\r\n",
		"a part":          "220 go\r\n2",
		"many":            strings.Repeat("220 go\r\n", 100),
		"several codes":   "220-go\r\n250 ok\r\n220 go\r\n",
		"an empty line":   "220 go\r\n\r\n",
		"a line and text": "220 go\r\nwhat\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				starts := tlsAfter(reply)
				w := oneHost(starts, starts, inClearOnly)
				if got := w.send(t, at(policy.Opportunistic, "192.0.2.1")); got != "" {
					t.Error(got)
				}
				if inTLS := slices.Contains(w.said("192.0.2.1"), "TLS"); inTLS != (name != "several codes") {
					t.Errorf("the message went in TLS: %v", inTLS)
				}
				if len(w.recorded) != 1 || len(w.recorded[0].Outcomes[0].Failures) != 1 {
					t.Errorf("recorded %+v, want one failure", w.recorded)
				}
				w = oneHost(starts)
				if got := w.send(t, at(policy.Encrypted, "192.0.2.1")); got != "x@example.org: 451 4.7.5" {
					t.Errorf("where TLS is mandatory: %q", got)
				}
			})
		})
	}
}

// tlsAfter is a host that answers STARTTLS with octets, and does TLS after them.
func tlsAfter(reply string) script {
	return func(s *server) {
		s.say(greeting)
		s.answer("250-mx.example.net\r\n250 STARTTLS\r\n")
		s.answer(reply)
		if s.handshake(certificates().good) {
			s.serve(nil)
		}
	}
}

// S26: 521 is permanent if every host greets with it and none has to be
// authenticated (RFC 7504).
func TestS26NoMailAnywhere(t *testing.T) {
	t.Parallel()
	const waits = "x@example.org: 451 4.3.2"
	for _, tt := range []struct {
		name  string
		hosts []mailHost
		says  map[string]string
		want  string
	}{
		{"one host", []mailHost{at(policy.Opportunistic, "192.0.2.1")}, map[string]string{"192.0.2.1": "521 no mail"}, "x@example.org: 550 5.3.2"},
		{"a code alone", []mailHost{at(policy.Opportunistic, "192.0.2.1")}, map[string]string{"192.0.2.1": "521"}, "x@example.org: 550 5.3.2"},
		{"two addresses", []mailHost{at(policy.Opportunistic, "192.0.2.1", "192.0.2.2")}, map[string]string{"192.0.2.1": "521", "192.0.2.2": "521"}, "x@example.org: 550 5.3.2"},
		{"two hosts", []mailHost{at(policy.Opportunistic, "192.0.2.1"), at(policy.Opportunistic, "192.0.2.2")}, map[string]string{"192.0.2.1": "521 no", "192.0.2.2": "521-no\r\n521 no"}, "x@example.org: 550 5.3.2"},
		{"another says 554", []mailHost{at(policy.Opportunistic, "192.0.2.1"), at(policy.Opportunistic, "192.0.2.2")}, map[string]string{"192.0.2.1": "521 no", "192.0.2.2": "554 no"}, waits},
		{"another says 421", []mailHost{at(policy.Opportunistic, "192.0.2.1"), at(policy.Opportunistic, "192.0.2.2")}, map[string]string{"192.0.2.1": "521 no", "192.0.2.2": "421 no"}, waits},
		{"another is down", []mailHost{at(policy.Opportunistic, "192.0.2.1"), at(policy.Opportunistic, "192.0.2.2")}, map[string]string{"192.0.2.1": "521 no"}, waits},
		{"an address is down", []mailHost{at(policy.Opportunistic, "192.0.2.1", "192.0.2.2")}, map[string]string{"192.0.2.1": "521 no"}, waits},
		{"Encrypted", []mailHost{at(policy.Encrypted, "192.0.2.1")}, map[string]string{"192.0.2.1": "521 no"}, waits},
		{"Authenticated", []mailHost{at(policy.Authenticated, "192.0.2.1")}, map[string]string{"192.0.2.1": "521 no"}, waits},
		{"one of two", []mailHost{at(policy.Opportunistic, "192.0.2.1"), at(policy.Authenticated, "192.0.2.2")}, map[string]string{"192.0.2.1": "521 no", "192.0.2.2": "521 no"}, waits},
		{"554 everywhere", []mailHost{at(policy.Opportunistic, "192.0.2.1")}, map[string]string{"192.0.2.1": "554 no"}, waits},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(make(map[string][]script))
				for addr, says := range tt.says {
					w.scripts[addr] = []script{func(s *server) { s.say(says + "\r\n"); s.serve(nil) }}
				}
				got := w.send(t, tt.hosts...)
				if strings.HasPrefix(got, "x@example.org: 451") && tt.want == waits {
					return
				}
				if got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			})
		})
	}
}

// Octets that come after the reply to EHLO are an injection where TLS proves something. Where
// it proves nothing, they are dropped at the second attempt, and the mail still goes in TLS.
func TestRepliesBehindEHLO(t *testing.T) {
	t.Parallel()
	strays := func(s *server) {
		s.say(greeting)
		s.answer("250-mx.example.net\r\n250 STARTTLS\r\n250 and more\r\n")
		s.answer("220 go ahead\r\n")
		if s.handshake(certificates().good) {
			s.serve(nil)
		}
	}
	for level, dials := range map[policy.Level]int{policy.Opportunistic: 2, policy.Encrypted: 1} {
		synctest.Test(t, func(t *testing.T) {
			w := oneHost(strays)
			client, err := w.dialHost(t, level)
			if (err == nil) != (level == policy.Opportunistic) || len(w.dialed) != dials {
				t.Fatalf("%v: %v after %q", level, err, w.dialed)
			}
			if err != nil {
				return
			}
			defer client.Close()
			if _, inTLS := client.TLS(); !inTLS {
				t.Errorf("%v: in cleartext", level)
			}
		})
	}
}
