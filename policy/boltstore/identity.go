package boltstore

import (
	"context"
	"crypto/rand"

	bolt "go.etcd.io/bbolt"

	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

var _ reporter.Identifier = (*Reports)(nil)

// idKey is the key of the ID in the bucket meta.
var idKey = []byte("id")

// idLength is the number of letters and digits of an ID.
const idLength = 12

// ID implements [reporter.Identifier]. The ID is in the file, so a copy of the file has the
// same.
func (r *Reports) ID(ctx context.Context) (string, error) {
	var id string
	read := func(tx *bolt.Tx) error {
		id = string(tx.Bucket(meta).Get(idKey))
		return nil
	}
	if err := r.view(ctx, read); err != nil || id != "" {
		return id, err
	}
	err := r.update(ctx, func(days *dayCursors) error {
		if _ = read(days.tx); id != "" {
			return nil // another call was faster
		}
		id = rand.Text()[:idLength]
		return days.tx.Bucket(meta).Put(idKey, []byte(id))
	})
	if err != nil {
		return "", err
	}
	return id, nil
}
