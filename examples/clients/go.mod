module github.com/mxseal/mxseal/examples/clients

go 1.25.0

require (
	github.com/emersion/go-smtp v0.25.1
	github.com/mxseal/mxseal v0.0.0
	github.com/wneessen/go-mail v0.7.2
)

require (
	github.com/emersion/go-sasl v0.0.0-20241020182733-b788ff22d5a6 // indirect
	github.com/miekg/dns v1.1.73 // indirect
	golang.org/x/net v0.58.0 // indirect
	golang.org/x/sync v0.22.0 // indirect
	golang.org/x/sys v0.47.0 // indirect
	golang.org/x/text v0.41.0 // indirect
)

// The example is for the sources that it lies beside.
replace github.com/mxseal/mxseal => ../..
