package valkeystore

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/valkey-io/valkey-go"
)

// Lease implements [mtasts.Leaser]. It gives the right to fetch the policy of
// domain for at most d, measured by the server. release takes at most
// Config.Timeout. If the server loses the lease, two relays may fetch the
// policy.
func (s *Store) Lease(ctx context.Context, domain string, d time.Duration) (release func(), ok bool, err error) {
	release, ok, err = s.hold(ctx, s.keys.lease(domain), d)
	return release, ok, s.failed("lease", domain, err)
}

// hold sets key for d, unless it is already set.
func (s *Store) hold(ctx context.Context, key string, d time.Duration) (release func(), ok bool, err error) {
	token := rand.Text()
	err = s.link.do(ctx, func(b valkey.Builder) valkey.Completed {
		return b.Eval().Script(leaseScript).Numkeys(1).Key(key).Arg(token, number(max(milliseconds(d), 1))).Build()
	}).Error()
	switch {
	case valkey.IsValkeyNil(err):
		return nil, false, nil
	case err != nil:
		return nil, false, err
	}
	return func() {
		// If this fails, the lease expires. Another relay may hold it by now.
		_, _ = s.run(context.WithoutCancel(ctx), releaseScript, key, token)
	}, true, nil
}
