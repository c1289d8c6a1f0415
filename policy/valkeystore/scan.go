package valkeystore

import (
	"context"
	"iter"
	"strconv"

	"github.com/valkey-io/valkey-go"

	"github.com/mxseal/mxseal/mtasts"
)

const (
	// scanCount is about how many keys the server goes through in one call.
	scanCount = 256
	// maxPage limits the values of one call, in octets. Others are read one by one.
	maxPage = 256 << 10
)

// All yields the entries on the server. Entries that are added or deleted
// during the iteration may be missing, and an entry may be yielded twice. All
// scans all keys of the database, in steps of 256 keys, so the database should not
// contain large amounts of other data.
func (s *Store) All(ctx context.Context) iter.Seq2[mtasts.Entry, error] {
	return func(yield func(mtasts.Entry, error) bool) {
		for cursor := "0"; ; {
			next, page, err := pair(s.link.do(ctx, func(b valkey.Builder) valkey.Completed {
				return b.Eval().Script(scanScript).Numkeys(0).Arg(cursor, s.keys.policies+"*",
					strconv.Itoa(scanCount), strconv.Itoa(maxValue), strconv.Itoa(maxPage)).Build()
			}))
			if err != nil {
				yield(mtasts.Entry{}, s.failed("scan", "", err))
				return
			}
			if !s.yieldAll(ctx, page, yield) || next == "0" {
				return
			}
			cursor = next
		}
	}
}

// yieldAll yields the entries of a page of keys and values in turn. It reports whether to
// continue.
func (s *Store) yieldAll(ctx context.Context, page []string, yield func(mtasts.Entry, error) bool) bool {
	for i := 0; i+1 < len(page); i += 2 {
		domain, ok := s.keys.domain(page[i])
		if !ok {
			continue
		}
		var e mtasts.Entry
		var err error
		if value := page[i+1]; value != "" {
			e, err = decode(domain, []byte(value))
		} else if e, err = s.read(ctx, domain); err == mtasts.ErrNotStored {
			continue // deleted in the meantime
		}
		if err != nil && ctx.Err() != nil {
			yield(mtasts.Entry{}, s.failed("scan", "", err))
			return false
		}
		if err != nil {
			e = mtasts.Entry{Domain: domain}
		}
		if !yield(e, s.failed("read", domain, err)) {
			return false
		}
	}
	return true
}
