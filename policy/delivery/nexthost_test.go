package delivery

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/policy"
)

// mailReplies is a host with TLS, or without, that answers some verbs in its own way.
func mailReplies(inTLS bool, replies map[string]string) script {
	if inTLS {
		return tlsThen(certificates().good, replies)
	}
	return answering(replies)
}

// SMTP-14: S7: mail that a host refuses temporarily goes to the next host, in cleartext and
// in TLS (RFC 5321 section 5.1). Mail that it refuses permanently does not.
func TestS7TemporaryRefusalLeadsToNextHost(t *testing.T) {
	t.Parallel()
	const next = "" // the message went to the next host
	for _, verb := range []string{"MAIL", "RCPT", "DATA"} {
		for reply, want := range map[string]string{
			"450 later": next, "451": next, "452 4.3.1 full": next, "421 bye": next, "499 x": next, "400": next,
			"354 what": map[string]string{"MAIL": next, "RCPT": next, "DATA": "x@example.org: 451 4.4.2"}[verb],
			"550 no":   "x@example.org: 550 5.0.0", "599": "x@example.org: 599 5.0.0", "503 5.5.1 no": "x@example.org: 503 5.5.1",
			"what?": next,
		} {
			for _, inTLS := range []bool{false, true} {
				if reply == "354 what" && verb == "DATA" {
					continue // the right reply
				}
				t.Run(fmt.Sprintf("%s %s, TLS %v", verb, reply, inTLS), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						w := newWorld(map[string][]script{
							"192.0.2.1": {mailReplies(inTLS, map[string]string{verb: reply + "\r\n"})},
							"192.0.2.2": {withTLS(certificates().good)},
						})
						level := policy.Opportunistic
						if inTLS {
							level = policy.Authenticated
						}
						if got := w.send(t, at(level, "192.0.2.1"), at(level, "192.0.2.2")); got != want {
							t.Errorf("got %q, want %q", got, want)
						}
						if sent := slices.Contains(w.said("192.0.2.2"), "."); sent != (want == next) {
							t.Errorf("the next host got the message: %v", sent)
						}
					})
				})
			}
		}
	}
}

// S7, SMTP-21: a reply that leaves the mail to the next host ends the attempt at the host: the
// next address is one of another host, at every step. Without a reply, it is the next
// address of the same host. NMX-12: no address is left out (RFC 5321 section 5.1).
func TestS7NextHostAndNextAddress(t *testing.T) {
	t.Parallel()
	const bad, other, next, after = "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"
	offers := "250-mx.example.net\r\n250 STARTTLS\r\n"
	type play struct {
		level policy.Level
		at    string
		reply string
	}
	var plays []play
	for _, reply := range []string{"421 bye", "450 later", "554 no"} {
		for _, at := range []string{"greeting", "EHLO", "MAIL", "RCPT", "DATA"} {
			for _, level := range []policy.Level{policy.Opportunistic, policy.Authenticated} {
				final := reply == "554 no" && (at == "MAIL" || at == "RCPT" || at == "DATA" || at == "EHLO" && level == policy.Opportunistic)
				if !final {
					plays = append(plays, play{level, at, reply})
				}
			}
		}
		plays = append(plays, play{policy.Authenticated, "STARTTLS", reply})
	}
	for _, reply := range []string{"what?", ""} { // and no reply at all
		for _, at := range []string{"greeting", "EHLO", "MAIL", "RCPT", "DATA"} {
			plays = append(plays, play{policy.Opportunistic, at, reply}, play{policy.Authenticated, at, reply})
		}
		plays = append(plays, play{policy.Authenticated, "STARTTLS", reply})
	}
	for _, p := range plays {
		t.Run(fmt.Sprintf("%v, %s: %q", p.level, p.at, p.reply), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				refuses := func(s *server) {
					answer := func(verb, usual string) bool {
						if verb == p.at && p.reply == "" {
							return false
						}
						if verb == p.at {
							usual = p.reply + "\r\n"
						}
						s.say(usual)
						return true
					}
					if !answer("greeting", greeting) {
						return
					}
					for {
						line, ok := s.hear()
						verb, _, _ := strings.Cut(line, " ")
						usual := map[string]string{"EHLO": offers, "STARTTLS": "220 go\r\n", "DATA": "354 go\r\n"}[verb]
						if p.level == policy.Opportunistic && verb == "EHLO" {
							usual = "250 mx\r\n"
						}
						if !ok || !answer(verb, cmp.Or(usual, "250 ok\r\n")) || verb == "STARTTLS" && p.at != verb && !s.handshake(certificates().good) {
							return
						}
					}
				}
				good := withTLS(certificates().good)
				for hosts, want := range map[string]struct{ afterReply, afterNone []string }{
					"another host":    {[]string{bad, next}, []string{bad, other}},
					"no other":        {[]string{bad, other}, []string{bad, other}},
					"others down":     {[]string{bad, next, after, other}, []string{bad, other}},
					"others stalled":  {[]string{bad, other}, []string{bad, other}},
					"all others down": {[]string{bad, next, after, other}, []string{bad, other, next, after}},
				} {
					w := newWorld(map[string][]script{bad: {refuses}, other: {good}, next: {good}, after: {good}})
					plan := []mailHost{at(p.level, bad, other), at(p.level, next), at(p.level, after)}
					d := w.dialer()
					switch hosts {
					case "no other":
						plan = plan[:1]
					case "all others down":
						delete(w.scripts, other)
						fallthrough
					case "others down":
						delete(w.scripts, next)
						delete(w.scripts, after)
					case "others stalled":
						d.stalls.note(netip.MustParseAddr(next))
						d.stalls.note(netip.MustParseAddr(after))
					}
					d.Resolver = w.published(t, plan...)
					err := d.SendMail(t.Context(), "s@example.net", []string{"x@example.org"}, []byte(letter))
					if (err != nil) != (hosts == "all others down") {
						t.Errorf("%s: error %v", hosts, err)
					}
					dialed := want.afterNone
					if p.reply != "" && p.reply != "what?" {
						dialed = want.afterReply
					}
					if !slices.Equal(w.dialed, dialed) {
						t.Errorf("%s: dialed %q, want %q", hosts, w.dialed, dialed)
					}
				}
			})
		})
	}
}

// S7: the recipients that a host accepts get the message there, and only the others
// go to the next host.
func TestS7OnlyTheOthersGoOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string][]script{
			"192.0.2.1": {func(s *server) {
				s.say(greeting)
				s.answer("250 mx\r\n")
				s.answer("250 ok\r\n")
				s.answer("250 ok\r\n")
				s.answer("450 4.2.1 later\r\n")
				s.answer("550 5.1.1 no\r\n")
				s.serve(nil)
			}},
			"192.0.2.2": {inClearOnly},
		})
		d := w.dialer()
		d.Resolver = w.published(t, at(policy.Opportunistic, "192.0.2.1"), at(policy.Opportunistic, "192.0.2.2"))
		err := d.SendMail(t.Context(), "s@example.net", []string{"a@example.org", "b@example.org", "c@example.org"}, []byte(letter))
		if got := failures(t, err); !slices.Equal(got, []string{"c@example.org: 550 5.1.1"}) {
			t.Errorf("failures %q", got)
		}
		if heard := w.said("192.0.2.1"); !slices.Contains(heard, ".") {
			t.Errorf("the first host heard %q", heard)
		}
		second := strings.Join(w.said("192.0.2.2"), " ")
		if !strings.Contains(second, "RCPT TO:<b@example.org> DATA") || strings.Contains(second, "<a@") || strings.Contains(second, "<c@") {
			t.Errorf("the second host heard %q", second)
		}
	})
}

// S8: 530 in cleartext is about TLS. Where TLS failed before, so may be any other
// 5yz reply.
func TestS8RefusedInCleartext(t *testing.T) {
	t.Parallel()
	cutOff := func(s *server) {
		s.say(greeting)
		s.answer("250-mx.example.net\r\n250 STARTTLS\r\n")
		s.answer("220 go ahead\r\n")
		s.conn.Close()
	}
	for _, verb := range []string{"greeting", "EHLO", "MAIL", "RCPT", "DATA", "."} {
		for _, code := range []string{"530", "550", "554", "500", "599", "521"} {
			for name, before := range map[string][]script{"no TLS": nil, "failed": {cutOff, cutOff}, "refused": {nil}} {
				t.Run(verb+" "+code+", TLS "+name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						replies := map[string]string{verb: code + " 5.7.0 STARTTLS first\r\n", "HELO": code + " no\r\n"}
						if name == "refused" {
							replies["STARTTLS"] = "454 not now\r\n"
							if verb != "EHLO" {
								replies["EHLO"] = "250-mx\r\n250 STARTTLS\r\n"
							}
							before = nil
						}
						play := func(s *server) {
							if verb == "greeting" {
								s.say(replies[verb])
							} else {
								s.say(greeting)
							}
							s.serve(replies)
						}
						w := oneHost(append(slices.Clone(before), play)...)
						got := w.send(t, at(policy.Opportunistic, "192.0.2.1"))
						temporary := verb == "greeting" || verb == "EHLO" || code == "530" || name != "no TLS"
						if verb == "greeting" && code == "521" && name != "failed" {
							temporary = false // S26: TLS has not failed yet
						}
						if is := strings.Contains(got, ": 451 4."); is != temporary || got == "" {
							t.Errorf("got %q, want a temporary failure: %v", got, temporary)
						}
					})
				})
			}
		}
	}
}

// SMTP-10: S9: 552 after an accepted recipient is about the transaction, unless it names the
// mailbox or the size (RFC 5321 section 4.5.3.1.10). So is 452.
func TestS9TooManyRecipients(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reply string
		first bool // the reply is to the first recipient
		want  string
	}{
		{"552 too many", false, ""},
		{"552", false, ""},
		{"552 5.5.3 too many", false, ""},
		{"552 5.7.1 no", false, ""},
		{"552-too\r\n552 many", false, ""},
		{"452 too many", false, ""},
		{"452 4.2.2 full", false, ""},
		{"552 5.2.2 mailbox full", false, "b@example.org: 552 5.2.2"},
		{"552 5.3.4 too big", false, "b@example.org: 552 5.3.4"},
		{"552 too many", true, "a@example.org: 552 5.0.0"},
		{"552 5.5.3 too many", true, "a@example.org: 552 5.5.3"},
		{"452 too many", true, "a@example.org: 452 4.0.0"},
		{"550 no", false, "b@example.org: 550 5.0.0"},
		{"553 no", false, "b@example.org: 553 5.0.0"},
	} {
		t.Run(fmt.Sprintf("%q first %v", tt.reply, tt.first), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				refused := "b@example.org"
				if tt.first {
					refused = "a@example.org"
				}
				w := oneHost(func(s *server) {
					s.say(greeting)
					accepted := 0
					for {
						line, ok := s.hear()
						switch {
						case !ok:
							return
						case strings.HasPrefix(line, "MAIL"):
							accepted = 0
							s.say("250 ok\r\n")
						case strings.HasPrefix(line, "RCPT TO:<"+refused) && (accepted > 0 || tt.first || tt.want != ""):
							s.say(tt.reply + "\r\n")
						case strings.HasPrefix(line, "RCPT"):
							accepted++
							s.say("250 ok\r\n")
						case line == "DATA":
							s.say("354 go\r\n")
							s.message()
							s.say("250 ok\r\n")
						default:
							s.say("250 ok\r\n")
						}
					}
				})
				d := w.dialer()
				d.Resolver = w.published(t, at(policy.Opportunistic, "192.0.2.1"))
				err := d.SendMail(t.Context(), "s@example.net", []string{"a@example.org", "b@example.org"}, []byte(letter))
				if got := strings.Join(failures(t, err), "; "); got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
				if got := strings.Count(verbs(w.said("192.0.2.1")), "."); (tt.want == "") != (got == 2) {
					t.Errorf("%d transactions", got)
				}
			})
		})
	}
}

// SMTP-26: a refusal is not remembered: neither of a message nor of a recipient (RFC 5321 section
// 4.5.4.1).
func TestRefusalsAreNotRemembered(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"greeting", "EHLO", "MAIL", "RCPT", "DATA", "."} {
		synctest.Test(t, func(t *testing.T) {
			refuses := func(s *server) {
				if verb == "greeting" {
					s.say("554 no\r\n")
				} else {
					s.say(greeting)
				}
				s.serve(map[string]string{verb: "550 5.7.1 no\r\n", "HELO": "550 5.7.1 no\r\n"})
			}
			w := oneHost(refuses, inClearOnly)
			d := w.dialer()
			d.Resolver = w.published(t, at(policy.Opportunistic, "192.0.2.1"))
			for _, refused := range []bool{true, false} {
				if err := d.SendMail(t.Context(), "s@example.net", []string{"x@example.org"}, []byte(letter)); (err != nil) != refused {
					t.Errorf("%s: error %v, want one: %v", verb, err, refused)
				}
			}
		})
	}
}

// S13, SMTP-22: addresses that stall do not keep the mail from a host that works. They are
// remembered for ten minutes and tried last.
func TestS13StallingAddressesComeLast(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		each  time.Duration // how long each address takes
		world func(addrs []string) *world
	}{
		{"no connection", 30 * time.Second, func(addrs []string) *world {
			w := newWorld(make(map[string][]script))
			w.silent = make(map[string]bool)
			for _, addr := range addrs {
				w.silent[addr] = true
			}
			return w
		}},
		{"no greeting", time.Minute, func(addrs []string) *world {
			w := newWorld(make(map[string][]script))
			for _, addr := range addrs {
				w.scripts[addr] = []script{func(s *server) { s.hear() }}
			}
			return w
		}},
		{"half a greeting", time.Minute, func(addrs []string) *world {
			w := newWorld(make(map[string][]script))
			for _, addr := range addrs {
				w.scripts[addr] = []script{func(s *server) { s.say("220-wait\r\n"); s.hear() }}
			}
			return w
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first := []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"}
				second := []string{"192.0.2.5", "192.0.2.6", "192.0.2.7", "192.0.2.8"}
				w := tt.world(slices.Concat(first, second))
				w.scripts["192.0.2.9"] = []script{inClearOnly}
				d := w.dialer()
				d.Resolver = w.published(t, at(policy.Opportunistic, first...), at(policy.Opportunistic, second...), at(policy.Opportunistic, "192.0.2.9"))
				for _, step := range []struct {
					stalls int // addresses tried before the one that works
					known  int // addresses that are remembered afterwards
					then   time.Duration
				}{{4, 4, 0}, {4, 8, 0}, {0, 8, 11 * time.Minute}, {4, 4, 0}} {
					start, before := time.Now(), len(w.dialed)
					if err := d.SendMail(t.Context(), "s@example.net", []string{"x@example.org"}, []byte(letter)); err != nil {
						t.Fatal(err)
					}
					if took := time.Since(start); took != time.Duration(step.stalls)*tt.each {
						t.Errorf("took %v, want %v", took, time.Duration(step.stalls)*tt.each)
					}
					if got := w.dialed[before:]; len(got) != step.stalls+1 || got[len(got)-1] != "192.0.2.9" {
						t.Errorf("dialed %q", got)
					}
					for addr, until := range d.Stalled() {
						if addr.String() == "192.0.2.9" || time.Until(until) <= 0 || time.Until(until) > 10*time.Minute {
							t.Errorf("%v stalled until %v", addr, until)
						}
					}
					if n := len(d.Stalled()); n != step.known {
						t.Errorf("%d addresses stalled, want %d", n, step.known)
					}
					time.Sleep(step.then)
				}
				time.Sleep(11 * time.Minute)
				if stalled := d.Stalled(); len(stalled) != 0 {
					t.Errorf("%v", stalled)
				}
			})
		})
	}
}
