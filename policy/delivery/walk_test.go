package delivery

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/tlsrpt"
)

// STS-81, STS-82, NMX-12, field note 68: hosts in the plan's order, each at its
// own addresses and at no other; a refused one gets no connection (DANE-16,
// DANE-113, DANE-33).
func TestOrderOfHosts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string][]script{
			"192.0.2.2": {withTLS(certificates().unknown)}, "192.0.2.3": {inClearOnly},
			"192.0.2.9": {withTLS(certificates().good)}, "192.0.2.4": {withTLS(certificates().good)},
			"192.0.2.5": {withTLS(certificates().good)},
		})
		plan := w.planned(t,
			at(policy.Authenticated, "192.0.2.1", "192.0.2.2"), at(policy.Encrypted, "192.0.2.3"), at(policy.Refused, "192.0.2.9"),
			at(policy.Authenticated), at(policy.Authenticated, "192.0.2.4"), at(policy.Authenticated, "192.0.2.5"),
		)
		along := w.walk(plan)
		client, err := along.client(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if want := []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"}; !slices.Equal(w.dialed, want) {
			t.Errorf("dialed %q, want %q", w.dialed, want)
		}
		if client.Host != plan.Hosts[4] || client.Plan != plan {
			t.Errorf("client of host %v", client.Host.Addrs)
		}
		var statuses []string
		for _, failure := range along.failures {
			statuses = append(statuses, failure.Status)
		}
		if want := []string{"4.4.1", "4.7.5", "4.7.4", "4.7.5", "4.4.4"}; !slices.Equal(statuses, want) {
			t.Errorf("failures %q, want %q", statuses, want)
		}
	})
}

// STS-78, STS-83, DANE-17, field note 15: when no host is left, the mail waits.
// The error has an error for each host, and the status of a policy failure rather
// than that of a network failure.
func TestNoHostIsLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string][]script{"192.0.2.2": {withTLS(certificates().unknown), inClearOnly}})
		_, err := w.walk(w.planned(t, at(policy.Authenticated, "192.0.2.1"), at(policy.Authenticated, "192.0.2.2"))).client(t.Context())
		var failure *policy.Error
		if !errors.As(err, &failure) {
			t.Fatalf("error %v", err)
		}
		if !failure.Temporary() || failure.Code() != 451 || failure.Status != "4.7.5" ||
			failure.Reason != tlsrpt.CertificateNotTrusted || failure.Domain != "example.org" || failure.Host != "" {
			t.Errorf("failure %+v", failure)
		}
		var refused *net.OpError
		if !errors.As(err, &refused) {
			t.Errorf("error %v does not hold the error of the first host", err)
		}
		if got := tlsrpt.Classify(err); got.Type != tlsrpt.CertificateNotTrusted {
			t.Errorf("classified as %v", got)
		}
		if strings.ContainsAny(err.Error(), "\r\n") {
			t.Errorf("error in several lines: %q", err)
		}
		if slices.Contains(w.said("192.0.2.2"), "TLS") || len(w.dialed) != 2 {
			t.Errorf("dialed %q", w.dialed)
		}
	})
}

// NMX-12, SMTP-21: at most four addresses of a host are tried.
func TestFourAddressesOfAHost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(nil)
		addrs := []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"}
		if _, err := w.walk(w.planned(t, at(policy.Opportunistic, addrs...))).client(t.Context()); err == nil || !slices.Equal(w.dialed, addrs[:4]) {
			t.Errorf("dialed %q, error %v", w.dialed, err)
		}
	})
}

// The connections of one call are bounded, whatever the number of hosts.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(nil)
		var hosts []mailHost
		for range 20 {
			hosts = append(hosts, at(policy.Opportunistic, "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"))
		}
		_, err := w.walk(w.planned(t, hosts...)).client(t.Context())
		if err == nil || len(w.dialed) != 16 {
			t.Errorf("%d connections, error %v", len(w.dialed), err)
		}
	})
}

// One session is recorded for each connection that got as far as TLS, and one for each
// host that a policy refused. RPT-65: none is recorded for a network error.
func TestEachConnectionIsRecordedOnce(t *testing.T) {
	t.Parallel()
	hangsUp := func(s *server) {
		s.say(greeting)
		s.answer("250-mx.example.net\r\n250 STARTTLS\r\n")
		s.answer("220 go ahead\r\n")
		s.conn.Read(make([]byte, 5))
	}
	for name, test := range map[string]struct {
		level policy.Level
		plays []script
		want  []string // failures of each session
	}{
		"verified":           {policy.Authenticated, []script{withTLS(certificates().good)}, []string{""}},
		"not offered":        {policy.Opportunistic, []script{inClearOnly}, []string{"starttls-not-supported"}},
		"not offered, fatal": {policy.Encrypted, []script{inClearOnly}, []string{"starttls-not-supported"}},
		"refused":            {policy.Encrypted, []script{refusing("454 no\r\n")}, []string{"starttls-not-supported"}},
		"refused, optional":  {policy.Opportunistic, []script{refusing("454 no\r\n")}, []string{"starttls-not-supported"}},
		"connection refused": {policy.Encrypted, nil, nil},
		"no greeting":        {policy.Encrypted, []script{func(*server) {}}, nil},
		"then in clear":      {policy.Opportunistic, []script{hangsUp, inClearOnly}, []string{"validation-failure"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := oneHost(test.plays...)
				if client, err := w.dialHost(t, test.level); err == nil {
					defer client.Close()
				}
				var got []string
				for _, session := range w.recorded {
					if session.Domain != "example.org" || session.MXHost != "mx.example.net" ||
						session.HELO != "mx.example.net" || session.ReceivingIP != netip.MustParseAddr("192.0.2.1") {
						t.Errorf("session %+v", session)
					}
					var types []string
					for _, failure := range session.Outcomes[0].Failures {
						types = append(types, string(failure.Type))
					}
					got = append(got, strings.Join(types, "+"))
				}
				if !slices.Equal(got, test.want) {
					t.Errorf("recorded %q, want %q", got, test.want)
				}
			})
		})
	}
}

// After 421 to STARTTLS the connection is closed: the next host is tried, and no mail
// over this one.
func TestServerThatCloses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string][]script{"192.0.2.1": {refusing("421 closing\r\n")}, "192.0.2.2": {inClearOnly}})
		client, err := w.walk(w.planned(t, at(policy.Opportunistic, "192.0.2.1"), at(policy.Opportunistic, "192.0.2.2"))).client(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		client.Close()
		if !slices.Equal(w.dialed, []string{"192.0.2.1", "192.0.2.2"}) {
			t.Errorf("dialed %q", w.dialed)
		}
	})
}

// The Recorder and the Logger may be nil, and the Resolver may not.
func TestDialerNeedsOnlyResolver(t *testing.T) {
	t.Parallel()
	if _, err := new(Dialer).Dial(t.Context(), "example.org"); err == nil {
		t.Error("no error without Resolver")
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string][]script{"192.0.2.1": {inClearOnly}, "192.0.2.2": {withTLS(certificates().good)}})
		along := &walk{dialer: new(Dialer)}
		along.follow(w.planned(t, at(policy.Encrypted, "192.0.2.1"), at(policy.Encrypted, "192.0.2.2")))
		client, err := along.client(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		client.Close()
	})
}

// A second attempt in cleartext is logged as a warning.
func TestRetryInClearIsLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := oneHost(func(s *server) {
			s.say(greeting)
			s.answer("250-mx.example.net\r\n250 STARTTLS\r\n")
			s.answer("220 go ahead\r\n")
		}, inClearOnly)
		var log strings.Builder
		along := w.walk(w.planned(t, at(policy.Opportunistic, "192.0.2.1")))
		along.dialer.Logger = slog.New(slog.NewTextHandler(&log, nil))
		client, err := along.client(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		client.Close()
		if !strings.Contains(log.String(), "level=WARN") {
			t.Errorf("log %q", log.String())
		}
	})
}

// REQ-4, REQ-5, REQ-9 to REQ-15: a session for REQUIRETLS needs the extension, offered
// inside TLS. REQ-1: it needs TLS first of all.
func TestServerMustRequireTLS(t *testing.T) {
	t.Parallel()
	supports := func(extra string) script {
		return tlsThen(certificates().good, map[string]string{"EHLO": "250-mx.example.net\r\n250-8BITMIME\r\n250 " + extra + "\r\n"})
	}
	inClearToo := func(s *server) { // offers it in cleartext, where it does not count
		s.say(greeting)
		s.answer("250-mx.example.net\r\n250-REQUIRETLS\r\n250 STARTTLS\r\n")
		s.answer("220 go ahead\r\n")
		if s.handshake(certificates().good) {
			s.serve(nil)
		}
	}
	answering := func(reply string) script {
		return func(s *server) {
			s.say(greeting)
			s.serve(map[string]string{"EHLO": "250-mx.example.net\r\n250 STARTTLS\r\n", "STARTTLS": reply})
		}
	}
	cutOff := func(s *server) {
		s.say(greeting)
		s.answer("250-mx.example.net\r\n250 STARTTLS\r\n")
		s.answer("220 go ahead\r\n")
		s.conn.Close()
	}
	for name, test := range map[string]struct {
		plays     map[string][]script
		status    string
		permanent bool
		heard     string // by 192.0.2.2
	}{
		// STT-12: what may be different later does not bounce the mail.
		"STARTTLS refused for now": {map[string][]script{"192.0.2.1": {answering("454 not now\r\n")}, "192.0.2.2": {answering("454 not now\r\n")}}, "4.7.4", false,
			"EHLO sender.example|STARTTLS|QUIT"},
		"STARTTLS refused for good": {map[string][]script{"192.0.2.1": {answering("502 no\r\n")}, "192.0.2.2": {answering("502 no\r\n")}}, "5.7.10", true,
			"EHLO sender.example|STARTTLS|QUIT"},
		"cut off in the handshake": {map[string][]script{"192.0.2.1": {cutOff}, "192.0.2.2": {cutOff}}, "4.7.5", false,
			"EHLO sender.example|STARTTLS"},
		"REQ-15 supported": {map[string][]script{"192.0.2.2": {supports("REQUIRETLS")}}, "", false,
			"EHLO sender.example|STARTTLS|TLS|EHLO sender.example|MAIL FROM:<a@example.net> BODY=8BITMIME REQUIRETLS"},
		"REQ-10 the second host": {map[string][]script{"192.0.2.1": {withTLS(certificates().good)}, "192.0.2.2": {supports("REQUIRETLS")}}, "", false,
			"EHLO sender.example|STARTTLS|TLS|EHLO sender.example|MAIL FROM:<a@example.net> BODY=8BITMIME REQUIRETLS"},
		"REQ-10, REQ-11, REQ-13 no support": {map[string][]script{"192.0.2.1": {supports("SIZE")}, "192.0.2.2": {supports("SIZE")}}, "5.7.30", true,
			"EHLO sender.example|STARTTLS|TLS|EHLO sender.example|QUIT"},
		"REQ-4, REQ-9 support in clear": {map[string][]script{"192.0.2.1": {inClearToo}, "192.0.2.2": {inClearToo}}, "5.7.30", true,
			"EHLO sender.example|STARTTLS|TLS|EHLO sender.example|QUIT"},
		"REQ-1, REQ-13 no TLS": {map[string][]script{"192.0.2.1": {inClearOnly}, "192.0.2.2": {inClearOnly}}, "5.7.10", true,
			"EHLO sender.example|QUIT"},
		"REQ-3, REQ-8, REQ-12 not verified": {map[string][]script{"192.0.2.1": {withTLS(certificates().unknown)}, "192.0.2.2": {withTLS(certificates().unknown)}}, "5.7.10", true,
			"EHLO sender.example|STARTTLS"},
		// A host that cannot be reached may yet fulfil it.
		"one host down": {map[string][]script{"192.0.2.2": {supports("SIZE")}}, "4.7.30", false,
			"EHLO sender.example|STARTTLS|TLS|EHLO sender.example|QUIT"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(test.plays)
				w.options = []policy.Option{policy.RequireTLS()}
				plan := w.planned(t, at(policy.Authenticated, "192.0.2.1"), at(policy.Authenticated, "192.0.2.2"))
				client, err := w.walk(plan).client(t.Context())
				if err == nil {
					defer client.Close()
					if err := client.Mail("a@example.net"); err != nil {
						t.Error(err)
					}
				}
				if heard := strings.Join(w.said("192.0.2.2"), "|"); heard != test.heard {
					t.Errorf("server heard %q, want %q", heard, test.heard)
				}
				var failure *policy.Error
				switch {
				case test.status == "" && err != nil:
					t.Error(err)
				case test.status == "":
				case !errors.As(err, &failure):
					t.Errorf("error %v", err)
				case failure.Status != test.status || failure.Permanent != test.permanent:
					t.Errorf("status %s, permanent %v: %v", failure.Status, failure.Permanent, failure)
				}
			})
		})
	}
}

// Client.Mail fails in a session without REQUIRETLS if the plan requires it, even if the
// session was made for another plan.
func TestMailChecksRequireTLS(t *testing.T) {
	t.Parallel()
	offeredInClear := func(s *server) {
		s.say(greeting)
		s.serve(map[string]string{"EHLO": "250-mx.example.net\r\n250 REQUIRETLS\r\n"})
	}
	for name, play := range map[string]script{
		"in clear": inClearOnly, "offered in clear": offeredInClear, "in TLS": withTLS(certificates().good),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := oneHost(play)
				client, err := w.dialHost(t, policy.Opportunistic)
				if err != nil {
					t.Fatal(err)
				}
				defer client.Close()
				client.Plan = &policy.Plan{Domain: "example.org", RequireTLS: true}
				var failure *policy.Error
				if err := client.Mail("a@example.net"); !errors.As(err, &failure) || failure.Status != "5.7.30" || !failure.Permanent {
					t.Errorf("error %v", err)
				}
				if err := client.Mail("a@example.net>\r\nRSET"); err == nil {
					t.Error("a line end in the return path")
				}
				if heard := w.said("192.0.2.1"); strings.HasPrefix(heard[len(heard)-1], "MAIL") {
					t.Errorf("server heard %q", heard)
				}
			})
		})
	}
}
