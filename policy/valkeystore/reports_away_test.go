package valkeystore

import (
	"testing"
	"time"
)

// again repeats a call until it succeeds, as an Aggregator and a Reporter do.
func again(t testing.TB, what string, call func() error) {
	t.Helper()
	eventually(t, what, func() bool { return call() == nil })
}

// If the connection breaks after the server has added a batch and before the
// reply arrives, nothing is counted twice.
func TestReplyIsLost(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	way := startProxy(t, srv.addr)
	r, direct := open(t, at(way.addr)).Reports(), open(t, at(srv.addr)).Reports()
	var want int64
	for n := int64(1); n <= 20; n++ {
		b := batch("w", n, domain, sessions(stsPolicy(1), n, untrusted("a")))
		want += n + 1
		again(t, "contact", func() error { _, err := r.Sums(t.Context(), today(), domain); return err })
		way.loseReply(":0\r\n")
		if err := r.Add(t.Context(), b); err == nil {
			t.Fatal("the reply was not lost")
		}
		if got := total(sums(t, direct, domain)); got != want {
			t.Fatalf("%d sessions when the reply was lost, want %d", got, want)
		}
		again(t, "added", func() error { return r.Add(t.Context(), b) })
		if got := total(sums(t, direct, domain)); got != want {
			t.Fatalf("%d sessions after batch %d was repeated, want %d", got, n, want)
		}
	}

	way.loseReply("*2\r\n")
	if number, err := r.Seal(t.Context(), today(), domain); err == nil {
		t.Fatalf("the reply was not lost: part %d", number)
	}
	add(t, direct, batch("x", 1, domain, sessions(noPolicy, 1000)))
	var number int
	again(t, "sealed", func() (err error) { number, err = r.Seal(t.Context(), today(), domain); return err })
	if part := sums(t, direct, domain); number != 1 || part.Number != 1 || total(part) != want {
		t.Errorf("sealed again: part %d; part %d of %d, want part 1 of %d", number, part.Number, total(part), want)
	}
	way.loseReply(":0\r\n")
	if err := r.Delete(t.Context(), today(), domain, 1); err == nil {
		t.Fatal("the reply was not lost")
	}
	again(t, "deleted", func() error { return r.Delete(t.Context(), today(), domain, 1) })
	if part := sums(t, direct, domain); part.Number != 2 || total(part) != 1000 {
		t.Errorf("after the deletion: part %d of %d", part.Number, total(part))
	}
}

// A server that hangs can execute a command that has timed out after its
// repetition and after later commands. Nothing is counted twice.
func TestLateExecutionCountsNothingTwice(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	r := open(t, at(srv.addr, func(config *Config) { config.Timeout = time.Second })).Reports()
	direct := open(t, at(srv.addr)).Reports()
	for n := int64(1); n <= 9; n += 2 {
		first, second := batch("w", n, domain, sessions(noPolicy, 1)), batch("w", n+1, domain, sessions(noPolicy, 1))
		again(t, "contact", func() error { _, err := r.Sums(t.Context(), today(), domain); return err })
		srv.pause(t)
		if err := r.Add(t.Context(), first); err == nil {
			t.Error("added by a server that stands still")
		}
		srv.resume(t)
		again(t, "added", func() error { return r.Add(t.Context(), first) })
		again(t, "added", func() error { return r.Add(t.Context(), second) })
		add(t, direct, first) // after all other batches
		if got := total(sums(t, direct, domain)); got != n+1 {
			t.Errorf("%d sessions, want %d", got, n+1)
		}
	}
}

// A server with persistence loses nothing in a crash: sums, batch numbers and
// sealed parts remain.
func TestRestartWithPersistence(t *testing.T) {
	t.Parallel()
	srv := startServer(t, "--appendonly", "yes", "--appendfsync", "always")
	r := open(t, at(srv.addr)).Reports()
	add(t, r, batch("w", 1, domain, sessions(noPolicy, 1)))
	if _, err := r.Seal(t.Context(), today(), domain); err != nil {
		t.Fatal(err)
	}
	second := batch("w", 2, domain, sessions(noPolicy, 10))
	add(t, r, second)
	srv.kill()
	if err := r.Add(t.Context(), second); err == nil {
		t.Error("added by no server")
	}
	srv.restart(t)
	again(t, "added again", func() error { return r.Add(t.Context(), second) })
	if part := sums(t, r, domain); part.Number != 1 || total(part) != 1 {
		t.Errorf("sealed: part %d of %d", part.Number, total(part))
	}
	if err := r.Delete(t.Context(), today(), domain, 1); err != nil {
		t.Fatal(err)
	}
	if part := sums(t, r, domain); part.Number != 2 || total(part) != 10 {
		t.Errorf("next: part %d of %d", part.Number, total(part))
	}
}

// A server without persistence loses the additions from before its crash only.
// Later additions are counted once.
func TestRestartWithoutPersistence(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	r := open(t, at(srv.addr)).Reports()
	add(t, r, batch("w", 1, domain, sessions(noPolicy, 1)))
	second := batch("w", 2, domain, sessions(noPolicy, 10))
	add(t, r, second)
	srv.kill()
	if part, err := r.Sums(t.Context(), today(), domain); err == nil {
		t.Errorf("without a server: %+v", part)
	}
	for _, err := range r.Domains(t.Context(), today()) {
		if err == nil {
			t.Error("domains without a server")
		}
	}
	srv.restart(t)
	again(t, "added again", func() error { return r.Add(t.Context(), second) })
	add(t, r, second)
	add(t, r, batch("w", 3, domain, sessions(noPolicy, 100)))
	if part := sums(t, r, domain); part.Number != 1 || total(part) != 110 {
		t.Errorf("part %d of %d", part.Number, total(part))
	}
}
