package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/valkey-io/valkey-go"

	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy/boltstore"
	"github.com/mxseal/mxseal/policy/valkeystore"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// stores hold the state that survives a restart.
type stores struct {
	policies mtasts.Store // nil keeps them in memory
	reports  reporter.Store
	close    func() error
}

// openStores opens the store from the settings. Without a store, the relay
// loses all MTA-STS policies when it ends, so each restart allows downgrade
// attacks. Use a store in production.
func openStores(s settings) (*stores, error) {
	switch {
	case s.store != "":
		store, err := boltstore.Open(s.store, boltstore.Config{})
		if err != nil {
			return nil, err
		}
		return &stores{policies: store, reports: store.Reports(), close: store.Close}, nil
	case s.valkey != "":
		store, err := openValkey(s.valkey)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.valkey, err)
		}
		return &stores{policies: store, reports: store.Reports(), close: store.Close}, nil
	default:
		return &stores{reports: new(reporter.MemoryStore), close: func() error { return nil }}, nil
	}
}

// openValkey connects to the server whose URL is in a file. Errors do not
// contain the URL, because it can include a password.
func openValkey(file string) (*valkeystore.Store, error) {
	url, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	server, err := valkey.ParseURL(strings.TrimSpace(string(url)))
	if err != nil {
		return nil, fmt.Errorf("no server URL, want one like rediss://user:password@valkey.example.net:6379/0")
	}
	return valkeystore.New(valkeystore.Config{Server: server})
}
