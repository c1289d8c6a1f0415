package delivery

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/policy"
)

// batch is a host with PIPELINING that reads a group of commands before it answers
// any of them: until the client has been silent for a second. replies are by line, or
// else by verb.
func batch(groups *[][]string, replies map[string]string) script {
	return func(s *server) {
		s.say(greeting)
		s.hear()
		s.say(offers("Pipelining"))
		lines := make(chan string)
		go func() {
			defer close(lines)
			for {
				line, ok := s.hear()
				if !ok {
					return
				}
				lines <- line
			}
		}()
		inMessage := false
		for {
			var group []string
			open := true
			for waiting := true; waiting; {
				select {
				case line, ok := <-lines:
					if open = ok; ok {
						group = append(group, line)
					}
					waiting = ok
				case <-time.After(time.Second):
					waiting = len(group) == 0
				}
			}
			if len(group) > 0 {
				*groups = append(*groups, group)
			}
			for _, line := range group {
				verb, _, _ := strings.Cut(line, " ")
				reply, found := replies[line]
				if !found {
					reply, found = replies[verb]
				}
				switch {
				case inMessage && line != ".":
					continue
				case found:
				case line == ".":
					reply = "250 2.0.0 queued as 1\r\n"
				case verb == "DATA":
					reply = "354 go\r\n"
				default:
					reply = "250 ok\r\n"
				}
				inMessage = strings.HasPrefix(reply, "354")
				s.say(reply)
				if strings.HasPrefix(reply, "421") {
					s.conn.Close()
				}
			}
			if !open {
				return
			}
		}
	}
}

// PIPE-1 to PIPE-6: commands go out in groups where the server offers PIPELINING. Their
// replies are judged one by one, as without it.
func TestPipelinedRepliesAreJudgedAlone(t *testing.T) {
	t.Parallel()
	const mail, x, y, z = "MAIL FROM:<s@example.net>", "RCPT TO:<x@example.org>", "RCPT TO:<y@example.org>", "RCPT TO:<z@example.org>"
	to := []string{"x@example.org", "y@example.org", "z@example.org"}
	text := []string{"From: s@example.net", "Subject: x", "", "Hello", "..", "world", "."}
	all := []string{mail, x, y, z, "DATA"}
	for name, test := range map[string]struct {
		replies map[string]string
		want    []string   // failures
		groups  [][]string // that the first server heard
		second  string     // commands that the next server heard
	}{
		"PIPE-1 accepted": {nil, nil, [][]string{all, text, {"QUIT"}}, ""},
		"PIPE-2 one recipient refused": {map[string]string{y: "550 5.1.1 who?\r\n"}, []string{"y@example.org: 550 5.1.1"},
			[][]string{all, text, {"QUIT"}}, ""},
		"PIPE-2 one recipient refused for now": {map[string]string{y: "450 4.2.1 later\r\n"}, nil,
			[][]string{all, text, {"QUIT"}}, mail + "|" + y + "|DATA"},
		"PIPE-3 no recipient, DATA refused": {map[string]string{"RCPT": "550 5.1.1 who?\r\n", "DATA": "503 5.5.1 no\r\n"},
			[]string{"x@example.org: 550 5.1.1", "y@example.org: 550 5.1.1", "z@example.org: 550 5.1.1"}, [][]string{all, {"RSET"}, {"QUIT"}}, ""},
		"PIPE-4 no recipient, DATA accepted": {map[string]string{"RCPT": "550 5.1.1 who?\r\n"},
			[]string{"x@example.org: 550 5.1.1", "y@example.org: 550 5.1.1", "z@example.org: 550 5.1.1"}, [][]string{all, {"."}, {"QUIT"}}, ""},
		"PIPE-4 MAIL refused, DATA accepted": {map[string]string{"MAIL": "550 5.7.1 no\r\n", "RCPT": "503 no\r\n"},
			[]string{"x@example.org y@example.org z@example.org: 550 5.7.1"}, [][]string{all, {"."}, {"QUIT"}}, ""},
		"PIPE-4 MAIL refused, all else accepted": {map[string]string{"MAIL": "550 5.7.1 no\r\n"},
			[]string{"x@example.org y@example.org z@example.org: 550 5.7.1"}, [][]string{all}, ""},
		// Replies that cannot be told apart decide nothing.
		"PIPE-7 a recipient answered twice":        {map[string]string{x: "550 5.1.1 who?\r\n550 5.1.1 who?\r\n"}, nil, [][]string{all}, strings.Join(all, "|")},
		"PIPE-7 the last recipient answered twice": {map[string]string{z: "550 5.1.1 who?\r\n550 5.1.1 who?\r\n"}, nil, [][]string{all, {"RSET"}}, strings.Join(all, "|")},
		"PIPE-7 all refused, one twice": {map[string]string{"RCPT": "550 5.1.1 who?\r\n", "DATA": "503 no\r\n", y: "550 5.1.1 who?\r\n550 5.1.1 who?\r\n"}, nil,
			[][]string{all, {"RSET"}}, strings.Join(all, "|")},
		"PIPE-7 MAIL answered twice": {map[string]string{"MAIL": "250 ok\r\n250 ok\r\n"}, nil, [][]string{all}, strings.Join(all, "|")},
		"PIPE-7 DATA answered twice": {map[string]string{"DATA": "354 go\r\n354 go\r\n"}, nil, [][]string{all}, strings.Join(all, "|")},
		"PIPE-4 MAIL refused for now": {map[string]string{"MAIL": "451 4.7.1 no\r\n", "RCPT": "503 no\r\n", "DATA": "503 no\r\n"}, nil,
			[][]string{all, {"RSET"}, {"QUIT"}}, strings.Join(all, "|")},
		"421 at the second recipient": {map[string]string{y: "421 4.3.2 bye\r\n"}, nil, [][]string{all}, strings.Join(all, "|")},
		"DATA refused for now":        {map[string]string{"DATA": "451 4.3.1 later\r\n"}, nil, [][]string{all, {"RSET"}, {"QUIT"}}, strings.Join(all, "|")},
		"S9 452 after the first": {map[string]string{z: "452 4.5.3 too many\r\n"}, []string{"z@example.org: 452 4.5.3"},
			[][]string{all, text, {mail, z, "DATA"}, {"."}, {"QUIT"}}, mail + "|" + z},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var groups [][]string
				w := newWorld(map[string][]script{"192.0.2.1": {batch(&groups, test.replies)}, "192.0.2.2": {inClearOnly}})
				if strings.HasPrefix(name, "S9") {
					w.scripts["192.0.2.2"] = []script{answering(map[string]string{"RCPT": "452 4.5.3 too many\r\n"})}
				}
				names := w.serving(t, policy.Config{})
				names.MaxConnections = 2
				err := names.SendMail(t.Context(), "s@example.net", to, []byte(letter))
				if got := failures(t, err); !slices.Equal(got, test.want) {
					t.Errorf("failures %q, want %q\n%v", got, test.want, err)
				}
				second := w.commands("192.0.2.2")
				if second != test.second {
					t.Errorf("second server heard %s, want %s", second, test.second)
				}
				if !slices.EqualFunc(groups, test.groups, slices.Equal) {
					t.Errorf("groups %q, want %q", groups, test.groups)
				}
			})
		})
	}
}

// PIPE-5: groups are bounded, so that neither side waits for the other to read.
func TestGroupsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var groups [][]string
		w := oneHost(batch(&groups, nil))
		var to []string
		for i := range 100 {
			to = append(to, fmt.Sprintf("user%d.%s@a.example", i, strings.Repeat("x", 100)))
		}
		if err := w.serving(t, policy.Config{}).SendMail(t.Context(), "s@example.net", to, []byte(letter)); err != nil {
			t.Fatal(err)
		}
		commands := 0
		for _, group := range groups {
			if octets := len(strings.Join(group, "\r\n") + "\r\n"); octets > 4096 {
				t.Errorf("a group of %d octets", octets)
			}
			commands += len(group)
		}
		if len(groups) < 4 || len(groups) > 8 || commands != 1+100+1+7+1 {
			t.Errorf("%d groups of %d commands", len(groups), commands)
		}
	})
}

// PIPE-6, SMTP-24: without PIPELINING, every command waits for the reply to the one before,
// and the first one for the greeting.
func TestWithoutPipeliningEachReplyIsAwaited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		early := false
		w := oneHost(func(s *server) {
			s.conn.SetReadDeadline(time.Now().Add(time.Second))
			if n, _ := s.conn.Read(make([]byte, 1)); n > 0 {
				early = true
			}
			s.conn.SetReadDeadline(time.Time{})
			s.say(greeting)
			for {
				line, ok := s.hear()
				if !ok {
					return
				}
				time.Sleep(time.Second)
				early = early || s.lines.Buffered() > 0
				switch {
				case line == "DATA":
					s.say("354 go\r\n")
					s.message()
					s.say("250 ok\r\n")
				default:
					s.say("250 ok\r\n")
				}
			}
		})
		if err := w.serving(t, policy.Config{}).SendMail(t.Context(), "s@example.net", []string{"x@a.example", "y@a.example"}, []byte(letter)); err != nil || early {
			t.Errorf("error %v, early %v", err, early)
		}
	})
}

// SMTP-27: a transaction in which no message was sent is ended by RSET before the next one
// begins (RFC 5321 section 4.1.4).
func TestResetBetweenTransactions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := oneHost(answering(map[string]string{"RCPT": "550 5.1.1 who?\r\n"}))
		var to []string
		for i := range 150 {
			to = append(to, fmt.Sprintf("user%d@a.example", i))
		}
		if got := failures(t, w.serving(t, policy.Config{}).SendMail(t.Context(), "s@example.net", to, []byte(letter))); len(got) != 150 {
			t.Errorf("%d failures", len(got))
		}
		heard := strings.Split(w.commands("192.0.2.1"), "|")
		if len(heard) != 153 || heard[101] != "RSET" || !strings.HasPrefix(heard[102], "MAIL") {
			t.Errorf("server heard %d commands, %q after the first transaction", len(heard), heard[min(101, len(heard)-1)])
		}
	})
}
