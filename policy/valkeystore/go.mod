module github.com/mxseal/mxseal/policy/valkeystore

go 1.25.0

require (
	github.com/hashicorp/golang-lru/v2 v2.0.7
	github.com/mxseal/mxseal v0.0.0
	github.com/valkey-io/valkey-go v1.0.79
)

require (
	golang.org/x/net v0.58.0 // indirect
	golang.org/x/sync v0.22.0 // indirect
	golang.org/x/sys v0.47.0 // indirect
	golang.org/x/text v0.41.0 // indirect
)

// The two modules are developed and released together. Nobody who imports this
// one sees the replacement.
replace github.com/mxseal/mxseal => ../..
