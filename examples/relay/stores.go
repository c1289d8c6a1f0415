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

// stores are what outlives the relay.
type stores struct {
	policies mtasts.Store // nil keeps them in memory
	reports  reporter.Store
	close    func() error
}

// openStores opens what the command line names. Without a store the relay
// forgets with its end what protects from the first contact on; for more than a
// try it should have one.
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

// openValkey connects to the server whose URL is in a file. An error does not
// repeat the URL, which may have a password.
func openValkey(file string) (*valkeystore.Store, error) {
	url, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	server, err := valkey.ParseURL(strings.TrimSpace(string(url)))
	if err != nil {
		return nil, fmt.Errorf("no URL of a server, such as rediss://user:password@valkey.example.net:6379/0")
	}
	return valkeystore.New(valkeystore.Config{Server: server})
}
