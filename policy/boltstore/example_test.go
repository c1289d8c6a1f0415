package boltstore_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy/boltstore"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

func Example() {
	dir, err := os.MkdirTemp("", "mail") // in production, a directory such as /var/lib/mail
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	store, err := boltstore.Open(filepath.Join(dir, "policies.db"), boltstore.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	client, err := mtasts.New(mtasts.Config{Store: store})
	if err != nil {
		fmt.Println(err)
		return
	}
	recorder, err := reporter.NewAggregator(reporter.AggregatorConfig{Store: store.Reports()})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { client.Run(ctx) })
	running.Go(func() { recorder.Run(ctx) })

	// ... send mail ...

	cancel()
	running.Wait()
	fmt.Println(store.Close())
	// Output: <nil>
}
