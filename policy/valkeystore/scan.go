package valkeystore

import (
	"context"
	"iter"

	"github.com/valkey-io/valkey-go"

	"github.com/mxseal/mxseal/mtasts"
)

// scanCount is about how many keys the server reads and returns in one call.
const scanCount = 64

// All yields the entries on the server. Entries that are added or deleted
// during the iteration may be missing, and an entry may be yielded twice. All
// scans all keys of the database, so the database should not contain large
// amounts of other data.
func (s *Store) All(ctx context.Context) iter.Seq2[mtasts.Entry, error] {
	return func(yield func(mtasts.Entry, error) bool) {
		for cursor := uint64(0); ; {
			page, err := s.link.do(ctx, func(b valkey.Builder) valkey.Completed {
				return b.Scan().Cursor(cursor).Match(s.keys.policies + "*").Count(scanCount).Build()
			}).AsScanEntry()
			if err != nil {
				yield(mtasts.Entry{}, s.failed("scan", "", err))
				return
			}
			if !s.yieldAll(ctx, page.Elements, yield) || page.Cursor == 0 {
				return
			}
			cursor = page.Cursor
		}
	}
}

// yieldAll yields the entries of the given keys. It reports whether to
// continue.
func (s *Store) yieldAll(ctx context.Context, found []string, yield func(mtasts.Entry, error) bool) bool {
	var domains []string
	for _, key := range found {
		if domain, ok := s.keys.domain(key); ok {
			domains = append(domains, domain)
		}
	}
	if len(domains) == 0 {
		return true
	}
	results := s.link.doAll(ctx, func(b valkey.Builder) []valkey.Completed {
		commands := make([]valkey.Completed, len(domains))
		for i, domain := range domains {
			commands[i] = s.readCommand(b, domain)
		}
		return commands
	})
	for i, r := range results {
		if err := r.NonValkeyError(); err != nil {
			yield(mtasts.Entry{}, s.failed("scan", "", err))
			return false
		}
		e, err := s.decode(domains[i], r)
		if err == mtasts.ErrNotStored {
			continue // deleted in the meantime
		}
		if err != nil {
			e = mtasts.Entry{Domain: domains[i]}
		}
		if !yield(e, s.failed("read", domains[i], err)) {
			return false
		}
	}
	return true
}
