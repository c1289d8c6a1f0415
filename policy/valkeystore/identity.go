package valkeystore

import (
	"context"
	"crypto/rand"

	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

var _ reporter.Identifier = (*Reports)(nil)

// idLength is the number of letters and digits of an ID.
const idLength = 12

// idScript returns the value of a key. If there is none, it sets ARGV[1].
const idScript = `
local kept = redis.call('GETRANGE', KEYS[1], 0, 63)
if kept ~= '' then
	return kept
end
redis.call('SET', KEYS[1], ARGV[1])
return ARGV[1]`

// ID implements [reporter.Identifier]. The server keeps the ID under the prefix of the
// Store. If the server loses it, it gets another one.
func (r *Reports) ID(ctx context.Context) (string, error) {
	id, err := r.eval(ctx, idScript, []string{r.keys.id()}, []string{rand.Text()[:idLength]}).ToString()
	return id, r.store.failed("read the ID of the store", "", err)
}
