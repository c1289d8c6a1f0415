package valkeystore

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

// loss is a way to lose contact with the server and to get it back.
type loss struct {
	name   string
	lose   func(t *testing.T, srv *server, way *proxy)
	regain func(t *testing.T, srv *server, way *proxy)
}

var losses = []loss{
	{
		name:   "killed",
		lose:   func(t *testing.T, srv *server, _ *proxy) { srv.kill() },
		regain: func(t *testing.T, srv *server, _ *proxy) { srv.restart(t) },
	},
	{
		name:   "partitioned",
		lose:   func(t *testing.T, _ *server, way *proxy) { way.setCut(true) },
		regain: func(t *testing.T, _ *server, way *proxy) { way.setCut(false) },
	},
	{
		name:   "stopped",
		lose:   func(t *testing.T, srv *server, _ *proxy) { srv.pause(t) },
		regain: func(t *testing.T, srv *server, _ *proxy) { srv.resume(t) },
	},
}

// soonLost makes a Store notice soon that a server does not answer. A server that answers has time enough, however
// busy the machine is.
func soonLost(config *Config) { config.Timeout = 3 * time.Second }

// While the server is away, a Store returns what it has in memory and fails
// quickly for other domains. When the server is back, the Store writes what it
// could not write before.
func TestMemoryServesWhileServerIsAway(t *testing.T) {
	t.Parallel()
	for _, l := range losses {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			srv := startServer(t)
			way := startProxy(t, srv.addr)
			s := open(t, at(way.addr, soonLost))
			heard := listen(t, s)
			known, old := entry("known.example", time.Hour), entry("changed.example", time.Hour)
			put(t, s, known)
			put(t, s, old)

			l.lose(t, srv, way)
			eventually(t, "the loss is noticed", func() bool {
				_, err := s.link.get()
				return err != nil
			})
			wantEntry(t, s, known)
			if _, err := s.Get(t.Context(), "unknown.example"); err == nil || errors.Is(err, mtasts.ErrNotStored) {
				t.Errorf("Get of an unknown entry: %v, want another error than ErrNotStored", err)
			}
			fresh := entry(old.Domain, time.Minute)
			fresh.ID = "2"
			if err := s.Put(t.Context(), fresh); err == nil {
				t.Error("Put returns no error, although the server does not have the entry")
			}
			wantEntry(t, s, fresh)
			if _, _, err := s.Lease(t.Context(), domain, time.Minute); err == nil {
				t.Error("a lease without a server")
			}
			for e, err := range s.All(t.Context()) {
				if err == nil {
					t.Errorf("All: %s", e.Domain)
				}
			}

			l.regain(t, srv, way)
			eventually(t, "Watch asks to check every entry", func() bool { return heard.has("") })
			for _, want := range []mtasts.Entry{known, fresh} {
				wantEntry(t, s, want) // as a Client does after Watch has called it
			}
			direct := open(t, at(srv.addr))
			wantEntry(t, direct, known)
			wantEntry(t, direct, fresh)
		})
	}
}

// A server that has lost its data gets policies back from the relays that have
// them. Deleted policies stay deleted.
func TestFlushedServerGetsPoliciesBack(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	a, b := open(t, at(srv.addr)), open(t, at(srv.addr))
	heard := listen(t, a)
	kept, deleted := entry("kept.example", time.Hour), entry("deleted.example", time.Hour)
	put(t, a, kept)
	put(t, a, deleted)
	wantEntry(t, b, deleted)
	if err := b.Delete(t.Context(), deleted.Domain); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Watch reports the deletion", func() bool { return heard.has(deleted.Domain) })

	srv.admin(t, "FLUSHALL")
	eventually(t, "Watch asks to check every entry", func() bool { return heard.has("") })
	wantEntry(t, a, kept)
	wantEntry(t, open(t, at(srv.addr)), kept)
	if _, err := a.Get(t.Context(), deleted.Domain); !errors.Is(err, mtasts.ErrNotStored) {
		t.Errorf("a deleted entry: %v", err)
	}
	if names := srv.keys(t, "*"); len(names) != 1 {
		t.Errorf("the server has %q", names)
	}
}

// A policy that expired while the server was away is not written again.
func TestExpiredIsNotWrittenAgain(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	now := time.Now()
	s := open(t, at(srv.addr, func(config *Config) { config.Now = func() time.Time { return now } }))
	put(t, s, entry(domain, time.Hour))
	now = now.Add(24 * time.Hour)
	heard := listen(t, s)
	srv.admin(t, "FLUSHALL")
	eventually(t, "Watch asks to check every entry", func() bool { return heard.has("") })
	if _, err := s.Get(t.Context(), domain); !errors.Is(err, mtasts.ErrNotStored) {
		t.Error(err)
	}
}

// A full server keeps its data, and gets the missed changes when it has memory
// again.
func TestFullServerKeepsData(t *testing.T) {
	t.Parallel()
	srv := startServer(t, "--maxmemory-policy", "noeviction")
	s := open(t, at(srv.addr))
	known, more := entry("known.example", time.Hour), entry("more.example", time.Hour)
	put(t, s, known)
	srv.admin(t, "CONFIG", "SET", "maxmemory", "1")
	if err := s.Put(t.Context(), more); err == nil {
		t.Error("Put returns no error, although the server does not have the entry")
	}
	wantEntry(t, open(t, at(srv.addr)), known)
	srv.admin(t, "CONFIG", "SET", "maxmemory", "0")
	wantEntry(t, s, more)
	wantEntry(t, open(t, at(srv.addr)), more)
}

// When the server evicts an entry, the relays that have it in memory keep it.
func TestEvictedEntryStaysInMemory(t *testing.T) {
	t.Parallel()
	srv := startServer(t, "--maxmemory-policy", "allkeys-lru")
	a, b := open(t, at(srv.addr)), open(t, at(srv.addr))
	heard := listen(t, b)
	put(t, a, entry(domain, time.Hour))
	eventually(t, "Watch reports the entry", func() bool { return heard.has(domain) })
	heard.clear()
	srv.admin(t, "CONFIG", "SET", "maxmemory", "1")
	eventually(t, "Watch reports that it has expired", func() bool { return heard.has(domain) })
	if _, err := b.Get(t.Context(), domain); !errors.Is(err, mtasts.ErrNotStored) {
		t.Error(err)
	}
}

// A Store can be created before the server is up.
func TestServerComesLater(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	srv.kill()
	s := open(t, at(srv.addr))
	if _, err := s.Get(t.Context(), domain); err == nil || errors.Is(err, mtasts.ErrNotStored) {
		t.Fatal(err)
	}
	srv.restart(t)
	eventually(t, "the server is found", func() bool { return s.Put(t.Context(), entry(domain, 0)) == nil })
	mustGet(t, open(t, at(srv.addr)), domain)
}

// A server that rejects all commands is not contacted more often than once per
// beat.
func TestConnectsNoFasterThanTheBeat(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	srv.admin(t, "ACL", "SETUSER", "relay", "on", ">secret", "-@all", "+hello", "+client|tracking")
	var dials atomic.Int32
	began := time.Now()
	open(t, at(srv.addr, func(config *Config) {
		config.Server.Username, config.Server.Password = "relay", "secret"
		config.Server.DialCtxFn = func(ctx context.Context, addr string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
			dials.Add(1)
			return d.DialContext(ctx, "tcp", addr)
		}
	}))
	eventually(t, "it has tried again", func() bool { return dials.Load() >= 3 })
	if took := time.Since(began); took < 3*beat/2 {
		t.Errorf("three attempts in %v", took)
	}
}
