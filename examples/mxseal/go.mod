module github.com/mxseal/mxseal/examples/mxseal

go 1.25.0

require github.com/mxseal/mxseal v0.0.0

// The command is for the sources that it lies beside.
replace github.com/mxseal/mxseal => ../..
