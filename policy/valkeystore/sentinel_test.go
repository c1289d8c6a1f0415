package valkeystore

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The primary server dies and a replica with less data takes over. The relays
// keep their policies and write the missing ones to the new primary server.
func TestFailoverKeepsPolicies(t *testing.T) {
	t.Parallel()
	primary := startServer(t, "--repl-diskless-sync-delay", "0")
	host, port, _ := net.SplitHostPort(primary.addr)
	replica := startServer(t, "--replicaof", host+" "+port)
	eventually(t, "the replica follows", func() bool {
		info, _ := replica.admin(t, "ROLE").ToArray()
		if len(info) < 4 {
			return false
		}
		state, _ := info[3].ToString()
		return state == "connected"
	})
	config := filepath.Join(t.TempDir(), "sentinel.conf")
	text := "sentinel monitor policies " + host + " " + port + " 1\n" +
		"sentinel down-after-milliseconds policies 3000\n" +
		"sentinel failover-timeout policies 20000\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	sentinel := startProgram(t, "redis-server", func(port, dir string) []string {
		return []string{config, "--sentinel", "--port", port, "--bind", "127.0.0.1", "--dir", dir}
	})
	eventually(t, "the sentinel knows the replica", func() bool {
		list, _ := sentinel.admin(t, "SENTINEL", "REPLICAS", "policies").ToArray()
		return len(list) == 1
	})

	bySentinel := func(config *Config) { config.Server.Sentinel.MasterSet = "policies" }
	a, b := open(t, at(sentinel.addr, bySentinel)), open(t, at(sentinel.addr, bySentinel))
	heard := listen(t, b)
	kept := entry("kept.example", time.Hour)
	put(t, a, kept)
	wantEntry(t, b, kept)

	primary.kill()
	wantEntry(t, a, kept)
	fresh := entry("fresh.example", time.Minute)
	if err := a.Put(t.Context(), fresh); err == nil {
		t.Error("Put says that a dead server has it")
	}
	eventually(t, "Watch asks to check every entry", func() bool { return heard.has("") })
	eventually(t, "the new primary has what the old one never got", func() bool {
		wantEntry(t, a, fresh)
		e, err := b.Get(context.Background(), fresh.Domain)
		return err == nil && same(e, fresh)
	})
	wantEntry(t, b, kept)
	eventually(t, "the new primary announces changes", func() bool {
		put(t, a, entry(domain, time.Minute))
		return heard.has(domain)
	})
}
