package mtasts_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

// Policies are known before there is mail.
func TestPreloadFindsPolicies(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.client(t)
		if err := c.Preload(t.Context(), domain, "none.example", "Example.COM."); err != nil {
			t.Error(err)
		}
		wantCounts(t, w, 2, 1)
		w.setTXT(txtAnswer{err: notFound("x")})
		wantMode(t, lookup(t, c), mtasts.Enforce)
	})
}

// An error of one domain does not prevent the lookup of the others.
func TestPreloadGoesOnAfterErrors(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.setHost(nil)
		err := w.client(t).Preload(t.Context(), "[192.0.2.1]", domain, "none.example")
		var fetch *mtasts.Error
		if !errors.Is(err, mtasts.ErrDomain) || !errors.As(err, &fetch) || fetch.Domain != domain {
			t.Errorf("error %v", err)
		}
		wantCounts(t, w, 2, 1)
	})
}

// The number of concurrent lookups is limited, and ctx ends Preload.
func TestPreloadIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := &crowd{failAfter: time.Second}
		c, err := mtasts.New(mtasts.Config{Resolver: w, Dial: w.dial, MaxRefreshes: 7})
		if err != nil {
			t.Fatal(err)
		}
		var domains []string
		for i := range 100 {
			domains = append(domains, fmt.Sprintf("d%d.example", i))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5500*time.Millisecond)
		defer cancel()
		if err := c.Preload(ctx, domains...); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if dials, most := w.counts(); most != 7 || dials != 42 {
			t.Errorf("%d at a time, %d in all", most, dials)
		}
	})
}

func TestPreloadFile(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		name := filepath.Join(t.TempDir(), "domains")
		text := "# banks\r\n" + domain + "\r\n\r\n  b\u00fccher.example  # sells books\nnone.example"
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c := w.client(t)
		if err := c.PreloadFile(t.Context(), name); err != nil {
			t.Error(err)
		}
		got := strings.Join(w.queries, " ")
		for _, want := range []string{domain, "xn--bcher-kva.example", "none.example"} {
			if !strings.Contains(got, "_mta-sts."+want+".") {
				t.Errorf("asked %q, not %s", got, want)
			}
		}
		if c.PreloadFile(t.Context(), name+"x") == nil {
			t.Error("a missing file is no error")
		}
		if err := os.WriteFile(name, []byte(strings.Repeat("x", 1<<20)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := c.PreloadFile(t.Context(), name); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v", err)
		}
	})
}
