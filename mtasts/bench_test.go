package mtasts_test

import (
	"context"
	"testing"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

const sixMX = "version: STSv1\r\nmode: enforce\r\nmx: aspmx.l.example.com\r\nmx: alt1.aspmx.l.example.com\r\n" +
	"mx: alt2.aspmx.l.example.com\r\nmx: alt3.aspmx.l.example.com\r\nmx: alt4.aspmx.l.example.com\r\nmx: *.mail.example.net\r\n" +
	"max_age: 604800\r\n"

func BenchmarkParsePolicy(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := mtasts.ParsePolicy(sixMX); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseRecord(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := mtasts.ParseRecord("v=STSv1; id=20160831085700Z;"); err != nil {
			b.Fatal(err)
		}
	}
}

// The worst place for a match is the last pattern.
func BenchmarkMatchMX(b *testing.B) {
	policy, err := mtasts.ParsePolicy(sixMX)
	if err != nil {
		b.Fatal(err)
	}
	for name, host := range map[string]string{
		"first": "aspmx.l.example.com", "wildcard": "mx1.mail.example.net", "none": "mx1.mail.example.org",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				policy.MatchMX(host)
			}
		})
	}
}

// A hit in memory, beside what it is compared with: reading the clock, which
// is the part of it that cannot be saved.
func BenchmarkLookup(b *testing.B) {
	w := newWorld(b)
	c := w.client(b)
	ctx := context.Background()
	if r, err := c.Lookup(ctx, domain); err != nil || r.Policy == nil {
		b.Fatal(err, r.Err)
	}
	b.Run("hit", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c.Lookup(ctx, domain)
		}
	})
	b.Run("hit in parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				c.Lookup(ctx, domain)
			}
		})
	})
	b.Run("clock alone", func(b *testing.B) {
		for b.Loop() {
			time.Now()
		}
	})
}
