module github.com/mxseal/mxseal/examples/mxseal

go 1.25.0

require (
	github.com/emersion/go-msgauth v0.7.0
	github.com/emersion/go-smtp v0.25.1
	github.com/mxseal/mxseal v0.0.0
	github.com/valkey-io/valkey-go v1.0.79
)

require (
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/emersion/go-sasl v0.0.0-20241020182733-b788ff22d5a6 // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/prometheus/client_model v0.6.2 // indirect
	github.com/prometheus/common v0.70.0 // indirect
	github.com/prometheus/procfs v0.21.1 // indirect
	go.etcd.io/bbolt v1.4.3 // indirect
	golang.org/x/crypto v0.55.0 // indirect
	google.golang.org/protobuf v1.36.11 // indirect
)

require (
	github.com/BurntSushi/toml v1.6.0
	github.com/coreos/go-systemd/v22 v22.7.0
	github.com/hashicorp/golang-lru/v2 v2.0.7 // indirect
	github.com/miekg/dns v1.1.73
	github.com/mxseal/mxseal/policy/metrics v0.0.0
	github.com/mxseal/mxseal/policy/valkeystore v0.0.0
	github.com/prometheus/client_golang v1.24.0
	golang.org/x/net v0.58.0 // indirect
	golang.org/x/sync v0.22.0 // indirect
	golang.org/x/sys v0.47.0 // indirect
	golang.org/x/text v0.41.0 // indirect
)

// The command is for the sources that it lies beside.
replace (
	github.com/mxseal/mxseal => ../..
	github.com/mxseal/mxseal/policy/metrics => ../../policy/metrics
	github.com/mxseal/mxseal/policy/valkeystore => ../../policy/valkeystore
)
