module github.com/mxseal/mxseal/internal/test/bigsender

go 1.25.0

require (
	github.com/mxseal/mxseal v0.0.0
	github.com/mxseal/mxseal/policy/valkeystore v0.0.0
	github.com/valkey-io/valkey-go v1.0.79
)

require (
	github.com/hashicorp/golang-lru/v2 v2.0.7 // indirect
	github.com/miekg/dns v1.1.73 // indirect
	golang.org/x/net v0.58.0 // indirect
	golang.org/x/sync v0.22.0 // indirect
	golang.org/x/sys v0.47.0 // indirect
	golang.org/x/text v0.41.0 // indirect
)

// The modules are developed together.
replace (
	github.com/mxseal/mxseal => ../../..
	github.com/mxseal/mxseal/policy/valkeystore => ../../../policy/valkeystore
)
