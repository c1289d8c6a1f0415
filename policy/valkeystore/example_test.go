package valkeystore_test

import (
	"context"
	"crypto/tls"
	"log"

	"github.com/valkey-io/valkey-go"

	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy/valkeystore"
)

func Example() {
	server, err := valkey.ParseURL("rediss://relay:secret@valkey.example.net:6379/0")
	if err != nil {
		log.Fatal(err)
	}
	store, err := valkeystore.New(valkeystore.Config{Server: server})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	client, err := mtasts.New(mtasts.Config{Store: store})
	if err != nil {
		log.Fatal(err)
	}
	go client.Run(context.Background()) // receives change notices and refreshes policies
}

// With Sentinels, the Store uses the current primary server.
func Example_sentinel() {
	store, err := valkeystore.New(valkeystore.Config{
		Server: valkey.ClientOption{
			InitAddress: []string{"sentinel1.example.net:26379", "sentinel2.example.net:26379"},
			Sentinel:    valkey.SentinelOption{MasterSet: "policies", TLSConfig: &tls.Config{}},
			TLSConfig:   &tls.Config{},
			Username:    "relay",
			Password:    "secret",
		},
		Prefix: "outbound:",
	})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
}
