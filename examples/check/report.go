package main

import (
	"fmt"
	"io"
	"os"

	"github.com/mxseal/mxseal/tlsrpt/report"
)

// showReport prints a received report and advice for each failure. It returns
// the exit status.
func showReport(name string, stdout, stderr io.Writer) int {
	received, err := readReport(name)
	if err == nil {
		err = received.Explain(stdout)
	}
	if err != nil {
		fmt.Fprintf(stderr, "check: %s\n", clean(err.Error()))
		return exitUsage
	}
	return 0
}

func readReport(name string) (*report.Report, error) {
	if name == "-" {
		return report.Parse(os.Stdin)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return report.Parse(file)
}
