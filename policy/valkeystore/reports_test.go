package valkeystore

import (
	"fmt"
	"testing"

	"github.com/mxseal/mxseal/internal/storetest"
	"github.com/mxseal/mxseal/tlsrpt"
)

// A Store on a real server does what every tlsrpt.Store does.
func TestReports(t *testing.T) {
	srv := startServer(t)
	n := 0
	storetest.Run(t, func(t *testing.T) tlsrpt.Store {
		n++
		return open(t, at(srv.addr, func(cfg *Config) { cfg.Prefix = fmt.Sprintf("t%d:", n) })).Reports()
	})
}
