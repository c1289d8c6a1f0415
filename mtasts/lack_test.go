package mtasts_test

import (
	"context"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

// M10: what this host lacks is not the domain's failure: neither is it reported, nor does
// the fetch wait for five minutes.
func TestM10NoFiles(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		lacks := true
		c := w.client(t, func(config *mtasts.Config) {
			config.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if lacks {
					return nil, fmt.Errorf("dial: %w", &net.OpError{Op: "dial", Err: syscall.EMFILE})
				}
				return w.Dial(ctx, network, addr)
			}
		})
		r := lookup(t, c)
		wantError(t, r, mtasts.KindFetch, "http-busy")
		if r.Reportable() || time.Until(r.NextCheck) > 5*time.Second {
			t.Errorf("%+v", r)
		}
		lacks = false
		time.Sleep(5 * time.Second)
		wantMode(t, lookup(t, c), mtasts.Enforce)
		w.setTXT(txtAnswer{err: fmt.Errorf("dns: %w", syscall.ENFILE)})
		time.Sleep(5 * time.Minute)
		if r := lookup(t, c); time.Until(r.NextCheck) > 5*time.Second {
			t.Errorf("%+v", r)
		}
	})
}
