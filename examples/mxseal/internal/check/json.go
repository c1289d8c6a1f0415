package check

import (
	"io"

	"github.com/mxseal/mxseal/examples/mxseal/internal/cli"
	"github.com/mxseal/mxseal/examples/mxseal/internal/survey"
)

// jsonLines prints a line of JSON for each result.
type jsonLines struct {
	w     io.Writer
	worst survey.Verdict
}

func (j *jsonLines) end() int { return int(j.worst) }

func (j *jsonLines) print(r *survey.Result) error {
	j.worst = survey.Worst(j.worst, r.Verdict)
	return cli.WriteJSON(j.w, r)
}
