package boltstore_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy/boltstore"
)

func Example() {
	dir, err := os.MkdirTemp("", "mail") // /var/lib/mail as a rule
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	store, err := boltstore.Open(filepath.Join(dir, "policies.db"), boltstore.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	client, err := mtasts.NewClient(mtasts.Config{Store: store})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		client.Run(ctx)
	}()

	// ... send mail ...

	cancel()
	<-ran
	fmt.Println(store.Close())
	// Output: <nil>
}
