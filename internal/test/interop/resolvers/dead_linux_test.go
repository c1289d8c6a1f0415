package resolvers

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/interop"
)

// D17: names that do not exist, through systemd-resolved with its validation switched off.
// None of the lookups fails, whatever systemd-resolved makes of our own speculative
// questions.
func TestD17DeadDomains(t *testing.T) {
	for _, addr := range []string{resolved, bypass} {
		t.Run(addr, func(t *testing.T) {
			for _, program := range []string{"systemd-resolved", "ldd", "ip"} {
				interop.Need(t, program)
			}
			if !inside(t) {
				return
			}
			tree := newTree(t)
			systemdResolved("no")(t, newUpstream(t, tree), addr)
			var lookups sync.WaitGroup
			var mu sync.Mutex
			slowest := time.Duration(0)
			room := make(chan struct{}, 8)
			for i := range 150 {
				room <- struct{}{}
				lookups.Go(func() {
					defer func() { <-room }()
					v, err := dnssec.New(dnssec.Config{Servers: []string{addr}, Anchors: tree.Anchors()})
					if err != nil {
						t.Error(err)
						return
					}
					defer v.Close()
					name := fmt.Sprintf([]string{"dead%d.example", "mx.dead%d.example", "dead%d.nsec3.example", "dead%d.signed.example", "dead%d.plain.example"}[i%5], i)
					began := time.Now()
					for _, rtype := range []dnssec.Type{dnssec.TypeMX, dnssec.TypeA, dnssec.TypeAAAA} {
						if a, err := v.Lookup(t.Context(), name, rtype); err != nil || !a.NXDomain {
							t.Errorf("%s %s: %+v, %v", rtype, name, a, err)
						}
					}
					mu.Lock()
					defer mu.Unlock()
					slowest = max(slowest, time.Since(began))
				})
			}
			lookups.Wait()
			t.Logf("three lookups took %v at most", slowest)
		})
	}
}
