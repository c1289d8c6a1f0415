package reporter

import (
	"context"
	"fmt"
	"sync"

	"github.com/mxseal/mxseal/internal/names"
)

// maxInstance limits the ID of a Store, in octets.
const maxInstance = 32

// instance is what distinguishes the report IDs of a Reporter from those of others.
type instance struct {
	store  Store
	mu     sync.Mutex
	chosen string // by Config.Instance, or by the Store before
}

// get returns Config.Instance or the ID of the Store. Empty means that there is neither.
func (i *instance) get(ctx context.Context) (string, error) {
	i.mu.Lock()
	chosen := i.chosen
	i.mu.Unlock()
	store, identified := i.store.(Identifier)
	if chosen != "" || !identified {
		return chosen, nil
	}
	id, err := store.ID(ctx)
	switch {
	case err != nil:
		return "", fmt.Errorf("reporter: reading the ID of the Store: %w", err)
	case len(id) > maxInstance || !names.IsAlphanumeric(id):
		return "", fmt.Errorf("reporter: the ID %.40q of the Store does not consist of at most %d letters and digits", id, maxInstance)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.chosen = id
	return id, nil
}
