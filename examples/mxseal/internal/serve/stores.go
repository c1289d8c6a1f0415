package serve

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/valkey-io/valkey-go"

	"github.com/mxseal/mxseal/examples/mxseal/internal/config"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy/boltstore"
	"github.com/mxseal/mxseal/policy/valkeystore"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// stores hold what survives a restart.
type stores struct {
	policies mtasts.Store // nil keeps them in memory
	reports  reporter.Store
	close    func() error
}

// openStores opens the store. Without a store, each restart lets an attacker hide policies again.
func openStores(c config.Store) (*stores, error) {
	switch {
	case c.File != "":
		store, err := boltstore.Open(c.File, boltstore.Config{})
		if err != nil {
			return nil, err
		}
		return &stores{policies: store, reports: store.Reports(), close: store.Close}, nil
	case c.Valkey != "":
		store, err := openValkey(c.Valkey)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Valkey, err)
		}
		return &stores{policies: store, reports: store.Reports(), close: store.Close}, nil
	default:
		return &stores{reports: new(reporter.MemoryStore), close: func() error { return nil }}, nil
	}
}

// openValkey connects to the server whose URL is in a file. Errors do not contain the URL, because it can
// include a password.
func openValkey(file string) (*valkeystore.Store, error) {
	url, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	server, err := valkey.ParseURL(strings.TrimSpace(string(url)))
	if err != nil {
		return nil, errors.New("no server URL, want one like rediss://user:password@valkey.example.net:6379/0")
	}
	return valkeystore.New(valkeystore.Config{Server: server})
}
