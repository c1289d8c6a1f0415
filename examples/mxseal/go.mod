module github.com/mxseal/mxseal/examples/mxseal

go 1.25.0

require (
	github.com/emersion/go-msgauth v0.7.0
	github.com/emersion/go-smtp v0.25.1
	github.com/mxseal/mxseal v0.0.0
	github.com/valkey-io/valkey-go v1.0.79
)

require (
	github.com/emersion/go-sasl v0.0.0-20241020182733-b788ff22d5a6 // indirect
	go.etcd.io/bbolt v1.4.3 // indirect
	golang.org/x/crypto v0.55.0 // indirect
)

require (
	github.com/BurntSushi/toml v1.6.0
	github.com/coreos/go-systemd/v22 v22.7.0
	github.com/hashicorp/golang-lru/v2 v2.0.7 // indirect
	github.com/miekg/dns v1.1.73 // indirect
	github.com/mxseal/mxseal/policy/valkeystore v0.0.0
	golang.org/x/net v0.58.0
	golang.org/x/sync v0.22.0 // indirect
	golang.org/x/sys v0.47.0 // indirect
	golang.org/x/text v0.41.0 // indirect
)

// The command is for the sources that it lies beside.
replace (
	github.com/mxseal/mxseal => ../..
	github.com/mxseal/mxseal/policy/valkeystore => ../../policy/valkeystore
)
