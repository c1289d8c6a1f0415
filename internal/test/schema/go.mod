module github.com/mxseal/mxseal/internal/test/schema

go 1.25.0

require github.com/santhosh-tekuri/jsonschema/v6 v6.0.2

require golang.org/x/text v0.14.0 // indirect
