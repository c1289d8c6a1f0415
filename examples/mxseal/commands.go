package main

import (
	"github.com/mxseal/mxseal/examples/mxseal/internal/advise"
	"github.com/mxseal/mxseal/examples/mxseal/internal/check"
	"github.com/mxseal/mxseal/examples/mxseal/internal/cli"
	"github.com/mxseal/mxseal/examples/mxseal/internal/doctor"
	"github.com/mxseal/mxseal/examples/mxseal/internal/explain"
	"github.com/mxseal/mxseal/examples/mxseal/internal/report"
	"github.com/mxseal/mxseal/examples/mxseal/internal/send"
	"github.com/mxseal/mxseal/examples/mxseal/internal/serve"
	"github.com/mxseal/mxseal/examples/mxseal/internal/tlsa"
)

// commands returns the subcommands in the order of the help text. Each is in a package of
// its own.
func commands() []cli.Command {
	return []cli.Command{
		check.Command(),
		advise.Command(),
		tlsa.Command(),
		send.Command(),
		report.Command(),
		serve.Command(),
		explain.Command(),
		doctor.Command(),
	}
}
