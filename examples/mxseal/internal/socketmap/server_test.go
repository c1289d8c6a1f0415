package socketmap_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/examples/mxseal/internal/socketmap"
	"github.com/mxseal/mxseal/internal/test/logbuf"
)

// echo answers with the key, and with other statuses where the key asks for them.
func echo(_ context.Context, key string) socketmap.Reply {
	switch word, rest, _ := strings.Cut(key, "="); word {
	case "temp":
		return socketmap.Reply{Text: rest}
	case "none":
		return socketmap.Reply{Status: socketmap.NotFound}
	case "long":
		return socketmap.Reply{Status: socketmap.Found, Text: strings.Repeat("x", 100_000)}
	case "wrong":
		return socketmap.Reply{Status: 9}
	}
	return socketmap.Reply{Status: socketmap.Found, Text: key}
}

// start serves the maps at a unix socket, and returns a function that connects to it.
func start(t *testing.T, maps map[string]socketmap.Map) (s *socketmap.Server, dial func() net.Conn) {
	t.Helper()
	l, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	s = socketmap.New(maps, slog.New(slog.DiscardHandler))
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Shutdown(t.Context())
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s, func() net.Conn {
		c, err := net.Dial("unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
}

func netstring(s string) string { return fmt.Sprintf("%d:%s,", len(s), s) }

func TestRepliesToRequests(t *testing.T) {
	_, dial := start(t, map[string]socketmap.Map{"QUERY": echo})
	_, any := start(t, map[string]socketmap.Map{"*": echo})
	for _, test := range []struct {
		dial         func() net.Conn
		input, reply string
	}{
		{dial, netstring("QUERY example.org"), netstring("OK example.org")},
		{dial, netstring("query example.org"), netstring("OK example.org")},
		{dial, netstring("QUERY "), netstring("OK ")},
		{dial, netstring("QUERY a b"), netstring("OK a b")},
		{dial, netstring("QUERY none"), netstring("NOTFOUND ")},
		{dial, netstring("QUERY temp=why"), netstring("TEMP why")},
		{dial, netstring("QUERY long"), netstring("TEMP mxseal: the answer is too long")},
		{dial, netstring("QUERY wrong"), netstring("TEMP mxseal: the answer is too long")},
		{dial, netstring("QUERY"), netstring(`PERM mxseal has no map "QUERY"`)},
		{dial, netstring("other\n x"), netstring(`PERM mxseal has no map "other\n"`)},
		{dial, netstring(""), netstring(`PERM mxseal has no map ""`)},
		{any, netstring("postfix example.org"), netstring("OK example.org")},
		{dial, netstring("QUERY " + strings.Repeat("x", 9_994)), netstring("OK " + strings.Repeat("x", 9_994))},
		// Requests without waiting, in their order, and then what is no request.
		{dial, netstring("QUERY 1") + netstring("QUERY 2") + netstring("QUERY none") + "GET /metrics", netstring("OK 1") + netstring("OK 2") + netstring("NOTFOUND ")},
		{dial, "10001:", ""},
		{dial, "99999999999999999999:", ""},
		{dial, "7:QUERY 1;", ""},
		{dial, ":QUERY 1,", ""},
		{dial, "07:QUERY 1,", ""},
		{dial, "-7:QUERY 1,", ""},
		{dial, "7 :QUERY 1,", ""},
		{dial, "7:QUERY", ""},
		{dial, "7", ""},
	} {
		c := test.dial()
		if _, err := io.WriteString(c, test.input); err != nil {
			t.Fatal(err)
		}
		// Exim closes its side after the request.
		if err := c.(*net.UnixConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(c)
		if err != nil || string(got) != test.reply {
			t.Errorf("%.60q: %.120q, %v, want %.120q", test.input, got, err, test.reply)
		}
	}
}

// Many clients have a connection each, and a slow answer holds up its own client only.
func TestSlowAnswerHoldsUpNoOther(t *testing.T) {
	slow := make(chan struct{})
	s, dial := start(t, map[string]socketmap.Map{"QUERY": func(ctx context.Context, key string) socketmap.Reply {
		if key == "slow" {
			<-slow
		}
		return echo(ctx, key)
	}})
	ask := func(c net.Conn, r *bufio.Reader, key string) {
		fmt.Fprint(c, netstring("QUERY "+key))
		if got, err := r.ReadString(','); err != nil || got != netstring("OK "+key) {
			t.Errorf("%q, %v", got, err)
		}
	}
	waiting := dial()
	fmt.Fprint(waiting, netstring("QUERY slow"))
	var clients sync.WaitGroup
	ready, done := make(chan struct{}, 1500), make(chan struct{})
	for range cap(ready) {
		clients.Go(func() {
			c := dial()
			r := bufio.NewReader(c)
			for i := range 3 {
				ask(c, r, fmt.Sprint(i))
			}
			ready <- struct{}{}
			<-done
			ask(c, r, "last")
		})
	}
	for range cap(ready) {
		<-ready
	}
	if n := s.Connections(); n < 1500 {
		t.Errorf("%d connections", n)
	}
	close(done)
	clients.Wait()
	close(slow)
	if got, err := bufio.NewReader(waiting).ReadString(','); err != nil || got != netstring("OK slow") {
		t.Errorf("%q, %v", got, err)
	}
}

// pipes is a listener for connections within the program.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, open := <-p; open {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{} }

// A connection may be idle for longer than Postfix keeps it, and not for ever.
func TestIdleConnectionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := socketmap.New(map[string]socketmap.Map{"QUERY": echo}, slog.New(slog.DiscardHandler))
		listener := make(pipes)
		go s.Serve(listener)
		ours, theirs := net.Pipe()
		listener <- theirs
		began := time.Now()
		r := bufio.NewReader(ours)
		for range 3 {
			time.Sleep(100 * time.Second)
			fmt.Fprint(ours, netstring("QUERY x"))
			if got, err := r.ReadString(','); got != netstring("OK x") {
				t.Fatalf("after %v: %q, %v", time.Since(began), got, err)
			}
		}
		began = time.Now()
		fmt.Fprint(ours, "7:QU") // never the rest
		if _, err := r.ReadByte(); err != io.EOF || time.Since(began) > 10*time.Minute {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		s.Shutdown(t.Context())
	})
}

// When all places are taken, a new client gets the place of the one that has been idle for the longest time: one
// that asks for nothing, never ends its request, or does not read its reply. Clients that wait for an answer stay.
func TestNewClientGetsPlaceOfIdlest(t *testing.T) {
	for name, hold := range map[string]func(net.Conn){
		"silent": func(net.Conn) {},
		"trickle": func(c net.Conn) {
			for text := "9999:"; ; text = "x" {
				time.Sleep(time.Second)
				if _, err := io.WriteString(c, text); err != nil {
					return
				}
			}
		},
		"not reading": func(c net.Conn) { io.WriteString(c, netstring("QUERY "+strings.Repeat("x", 9_000))) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				answer := make(chan struct{})
				log := new(logbuf.Buffer)
				s := socketmap.New(map[string]socketmap.Map{"QUERY": func(ctx context.Context, key string) socketmap.Reply {
					if key == "slow" {
						<-answer
					}
					return echo(ctx, key)
				}}, slog.New(slog.NewTextHandler(log, nil)))
				listener := make(pipes)
				go s.Serve(listener)
				dial := func() net.Conn {
					ours, theirs := net.Pipe()
					select {
					case listener <- theirs:
					case <-time.After(time.Second):
						t.Fatal("the connection is not taken")
					}
					return ours
				}
				ask := func(c net.Conn, key string) {
					t.Helper()
					fmt.Fprint(c, netstring("QUERY "+key))
					if got, err := bufio.NewReader(c).ReadString(','); err != nil || got != netstring("OK "+key) {
						t.Errorf("%q, %v", got, err)
					}
				}
				waiting := dial()
				fmt.Fprint(waiting, netstring("QUERY slow"))
				time.Sleep(time.Second)
				var holding sync.WaitGroup
				defer holding.Wait()
				var holders []net.Conn
				for range socketmap.MaxConnections - 2 {
					c := dial()
					holding.Go(func() { hold(c) })
					holders = append(holders, c)
				}
				busy := dial()
				time.Sleep(10 * time.Second)
				ask(busy, "busy")
				for i := range 10 {
					time.Sleep(time.Second)
					c := dial()
					ask(c, fmt.Sprint(i))
					c.Close()
					synctest.Wait()
					holders = append(holders, dial())
				}
				for range 10 {
					ask(dial(), "another")
				}
				ask(busy, "busy")
				close(answer)
				if got, err := bufio.NewReader(waiting).ReadString(','); err != nil || got != netstring("OK slow") {
					t.Errorf("the client that waits for an answer: %q, %v", got, err)
				}
				if n := s.Connections(); n > socketmap.MaxConnections {
					t.Errorf("%d connections", n)
				}
				if n := strings.Count(log.String(), "too many connections"); n != 1 {
					t.Errorf("%d lines in the log: %.500s", n, log)
				}
				for _, c := range holders {
					c.Close()
				}
				s.Shutdown(t.Context())
			})
		})
	}
}

// Clients that all wait for answers keep their places, and the next one waits.
func TestCrowdedByAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := socketmap.New(map[string]socketmap.Map{"QUERY": func(ctx context.Context, key string) socketmap.Reply {
			time.Sleep(15 * time.Second)
			return echo(ctx, key)
		}}, slog.New(slog.DiscardHandler))
		listener := make(pipes)
		go s.Serve(listener)
		began := time.Now()
		for range socketmap.MaxConnections {
			ours, theirs := net.Pipe()
			listener <- theirs
			fmt.Fprint(ours, netstring("QUERY x"))
		}
		last, theirs := net.Pipe()
		listener <- theirs
		if took := time.Since(began); took < 15*time.Second || took > 16*time.Second {
			t.Errorf("the last client was taken after %v", took)
		}
		fmt.Fprint(last, netstring("QUERY x"))
		if got, err := bufio.NewReader(last).ReadString(','); err != nil || got != netstring("OK x") {
			t.Errorf("%q, %v", got, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s.Shutdown(ctx)
	})
}

// Shutdown waits for answers that have begun, and closes idle connections. When its time is over, it
// abandons the answers.
func TestShutdownWaitsForAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, grace := range []time.Duration{time.Minute, time.Second} {
			s := socketmap.New(map[string]socketmap.Map{"QUERY": func(ctx context.Context, key string) socketmap.Reply {
				select {
				case <-ctx.Done():
					return socketmap.Reply{Text: "abandoned"}
				case <-time.After(15 * time.Second):
					return echo(ctx, key)
				}
			}}, slog.New(slog.DiscardHandler))
			listener := make(pipes)
			served := make(chan error, 1)
			go func() { served <- s.Serve(listener) }()
			busy, theirs := net.Pipe()
			listener <- theirs
			idle, others := net.Pipe()
			listener <- others
			fmt.Fprint(busy, netstring("QUERY x"))
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), grace)
			closed := make(chan struct{})
			go func() {
				s.Shutdown(ctx)
				close(closed)
			}()
			if _, err := idle.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("the idle connection: %v", err)
			}
			want := netstring("OK x")
			if grace < 15*time.Second {
				want = netstring("TEMP abandoned")
			}
			if got, err := bufio.NewReader(busy).ReadString(','); got != want {
				t.Errorf("%v: %q, %v, want %q", grace, got, err, want)
			}
			<-closed
			cancel()
			if err := <-served; err != nil {
				t.Error(err)
			}
		}
	})
}

// A long answer gets through whenever it is written, and a client that does not read it holds neither its place
// nor the end of the daemon.
func TestLongRepliesGetThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		long := netstring("QUERY " + strings.Repeat("x", 9_000))
		start := func() (s *socketmap.Server, conn net.Conn) {
			s = socketmap.New(map[string]socketmap.Map{"QUERY": echo}, slog.New(slog.DiscardHandler))
			listener := make(pipes)
			go s.Serve(listener)
			ours, theirs := net.Pipe()
			listener <- theirs
			return s, ours
		}
		s, conn := start()
		r := bufio.NewReader(conn)
		for _, request := range []string{netstring("QUERY x"), long} {
			fmt.Fprint(conn, request)
			if got, err := r.ReadString(','); err != nil || len(got) < len(request)-5 {
				t.Errorf("%d octets, %v", len(got), err)
			}
			time.Sleep(200 * time.Second)
		}
		s.Shutdown(t.Context())

		s, conn = start()
		fmt.Fprint(conn, long) // the reply is not read
		time.Sleep(5 * time.Minute)
		if n := s.Connections(); n > 0 {
			t.Errorf("%d connections", n)
		}
		s.Shutdown(t.Context())

		s, conn = start()
		fmt.Fprint(conn, long)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		began := time.Now()
		s.Shutdown(ctx)
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("the end took %v", took)
		}
	})
}

// Whatever comes in, what goes out are netstrings with one of the four words.
func FuzzServer(f *testing.F) {
	for _, input := range []string{"", "7:QUERY 1,", "9:QUERY 1,2,", "1:,,", "10000:x", "3:a b,0:,"} {
		f.Add(input)
	}
	f.Fuzz(func(t *testing.T, input string) {
		var output []byte
		synctest.Test(t, func(t *testing.T) { // time passes only once all is answered
			s := socketmap.New(map[string]socketmap.Map{"QUERY": echo}, slog.New(slog.DiscardHandler))
			l := make(pipes)
			go s.Serve(l)
			ours, theirs := net.Pipe()
			l <- theirs
			go func() {
				io.WriteString(ours, input)
				ours.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			}()
			output, _ = io.ReadAll(ours)
			ours.Close()
			s.Shutdown(t.Context())
		})
		for rest := string(output); rest != ""; {
			var n int
			var text string
			if _, err := fmt.Sscanf(rest, "%d:", &n); err != nil {
				t.Fatalf("%q", output)
			}
			_, text, _ = strings.Cut(rest, ":")
			if n >= len(text) || text[n] != ',' {
				return // the client did not read all
			}
			if word, _, found := strings.Cut(text[:n], " "); !found || !strings.Contains("OK NOTFOUND TEMP PERM", word) {
				t.Fatalf("%q", output)
			}
			rest = text[n+1:]
		}
	})
}
