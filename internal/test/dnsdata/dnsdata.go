// Package dnsdata has DNS data for tests.
package dnsdata

import (
	_ "embed"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

//go:embed replies
var replies string

// Replies returns replies of real name servers and of a resolver.
func Replies(tb testing.TB) [][]byte {
	tb.Helper()
	var all [][]byte
	for line := range strings.Lines(replies) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		wire, err := base64.StdEncoding.DecodeString(fields[len(fields)-1])
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, wire)
	}
	return all
}

// RR returns the record of a line of a zone file.
func RR(tb testing.TB, line string) dns.RR {
	tb.Helper()
	rr, err := dns.NewRR(line)
	if err != nil {
		tb.Fatal(err)
	}
	return rr
}
