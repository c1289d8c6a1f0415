package advise

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/mxseal/mxseal/examples/mxseal/internal/cli"
	"github.com/mxseal/mxseal/mtasts"
)

// width is the width of the text in columns. Lines with records can be longer.
const width = 80

// print writes the advice for people. Of the steps after the next one, it writes only the
// titles, unless all is true.
func (a *Advice) print(w io.Writer, all bool) error {
	var b bytes.Buffer
	if len(a.Has) == 0 {
		paragraph(&b, "", a.Domain+": "+a.Reason)
	} else {
		paragraph(&b, "", fmt.Sprintf("%s: DNSSEC is %s; mail goes to %s", a.Domain, describe(a.DNSSEC), a.Hosting))
		b.WriteString("\nWhat it has\n")
		for _, p := range a.Has {
			mark := "no "
			if p.OK {
				mark = "yes"
			}
			paragraph(&b, "  ", fmt.Sprintf("%s %s: %s", mark, p.Name, p.Text))
		}
		title := "If it enforced MTA-STS today"
		if a.found.MTASTS.Mode() == mtasts.Enforce {
			title = "As it enforces MTA-STS"
		}
		b.WriteString("\n" + title + "\n")
		if len(a.Breaks) == 0 {
			b.WriteString("  every mail host that this command reached gets its mail\n")
		}
		for _, text := range a.Breaks {
			paragraph(&b, "  ", text)
		}
		paragraph(&b, "  ", "safe to enforce: "+a.Safe)
	}
	a.printSteps(&b, all)
	_, err := io.WriteString(w, cli.Options(b.String()))
	return err
}

func describe(z Zone) string {
	switch z {
	case ZoneSigned:
		return "in place"
	case ZoneUnsigned:
		return "available, and not in place"
	case ZoneUnavailable:
		return "not available, because the zone above is not signed"
	default:
		return "unknown"
	}
}

// printSteps writes the next step, and those that follow.
func (a *Advice) printSteps(b *bytes.Buffer, all bool) {
	if len(a.Steps) == 0 {
		if len(a.Has) > 0 {
			b.WriteString("\nThere is nothing left to do. Keep it so:\n")
			paragraph(b, "  ", "Let a monitor run \"mxseal check -connect -nagios "+a.Domain+"\".")
			paragraph(b, "  ", rollover)
		}
		return
	}
	for i, step := range a.Steps {
		switch {
		case i == 0:
			b.WriteByte('\n')
			paragraph(b, "", "Next step: "+step.Title)
			step.printBody(b)
		case all:
			b.WriteByte('\n')
			paragraph(b, "", fmt.Sprintf("Step %d: %s", i+1, step.Title))
			step.printBody(b)
		case i == 1:
			b.WriteString("\nAfter that (\"mxseal advise -all\" has all of it)\n")
			fallthrough
		default:
			paragraph(b, "  ", fmt.Sprintf("%d. %s", i+1, step.Title))
		}
	}
}

// printBody writes the text of a step, and what to publish.
func (s Step) printBody(b *bytes.Buffer) {
	for _, text := range s.Text {
		paragraph(b, "  ", text)
	}
	where := ""
	for _, p := range s.Publish {
		if p.Where != where {
			where = p.Where
			fmt.Fprintf(b, "  %s:\n", cli.Clean(where))
		}
		for _, line := range p.Lines {
			fmt.Fprintf(b, "    %s\n", cli.Clean(line))
		}
	}
}

// paragraph writes text in lines of at most width columns, the first with the indent and
// the others with two more spaces. A longer word has a line of its own.
func paragraph(b *bytes.Buffer, indent, text string) {
	line := indent
	for i, word := range strings.Fields(cli.Clean(text)) {
		switch {
		case i == 0:
			line += word
		case len(line)+1+len(word) > width:
			b.WriteString(line + "\n")
			line = indent + "  " + word
		default:
			line += " " + word
		}
	}
	b.WriteString(line + "\n")
}
