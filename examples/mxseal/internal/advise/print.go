package advise

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/mxseal/mxseal/examples/mxseal/internal/cli"
)

// width is that of the text, in columns. Records are not broken.
const width = 80

// print writes the advice for people.
func (a *Advice) print(w io.Writer) error {
	var b bytes.Buffer
	if len(a.Has) == 0 {
		paragraph(&b, "", a.Domain+": "+a.Reason)
	} else {
		paragraph(&b, "", fmt.Sprintf("%s: DNSSEC is %s, the mail hosts are %s", a.Domain, describe(a.DNSSEC), a.Hosting))
		b.WriteString("\nWhat it has\n")
		for _, p := range a.Has {
			mark := "no "
			if p.OK {
				mark = "yes"
			}
			paragraph(&b, "  ", fmt.Sprintf("%s %s: %s", mark, p.Name, p.Text))
		}
		b.WriteString("\nIf it enforced MTA-STS today\n")
		if len(a.Breaks) == 0 {
			b.WriteString("  every mail host that this command reached would get its mail\n")
		}
		for _, text := range a.Breaks {
			paragraph(&b, "  ", text)
		}
		paragraph(&b, "  ", "safe to enforce: "+a.Safe)
	}
	a.printSteps(&b)
	_, err := w.Write(b.Bytes())
	return err
}

func describe(z Zone) string {
	switch z {
	case ZoneSigned:
		return "in place"
	case ZoneUnsigned:
		return "not in place, and available"
	case ZoneUnavailable:
		return "not available, because the zone above is not signed"
	default:
		return "unknown"
	}
}

// printSteps writes the next step in full, and those that follow.
func (a *Advice) printSteps(b *bytes.Buffer) {
	if len(a.Steps) == 0 {
		if len(a.Has) > 0 {
			b.WriteString("\nThere is nothing left to do. Keep it so:\n")
			paragraph(b, "  ", "Let a monitor run \"mxseal check -connect -nagios "+a.Domain+"\".")
			paragraph(b, "  ", rollover)
		}
		return
	}
	for i, step := range a.Steps {
		label := "Next step: "
		if i > 0 {
			label = fmt.Sprintf("Step %d, after that: ", i+1)
		}
		b.WriteByte('\n')
		paragraph(b, "", label+step.Title)
		for _, text := range step.Text {
			paragraph(b, "  ", text)
		}
		for _, p := range step.Publish {
			fmt.Fprintf(b, "  %s:\n", cli.Clean(p.Where))
			for _, line := range p.Lines {
				fmt.Fprintf(b, "    %s\n", cli.Clean(line))
			}
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
