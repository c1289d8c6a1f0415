package conversation

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var printTable = flag.Bool("table", false, "print the table of the conversation for ARCHITECTURE.md")

// ARCHITECTURE.md shows the table as it is.
func TestTableIsShown(t *testing.T) {
	table := renderTable()
	if *printTable {
		fmt.Print(table)
	}
	page, err := os.ReadFile("../../../../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, begun := strings.Cut(string(page), "<!-- table -->\n")
	shown, _, ended := strings.Cut(rest, "<!-- end of table -->")
	if !begun || !ended || strings.TrimSpace(shown) != strings.TrimSpace(table) {
		t.Error("ARCHITECTURE.md does not show the table of replies.go; replace its section by the output of: go test ./policy/delivery/internal/conversation -run TestTableIsShown -args -table")
	}
}

// situation is a column: circumstances under a name.
type situation struct {
	name string
	Circumstances
}

// chapter is the part of the table for a step.
type chapter struct {
	Step       Step
	name       string
	others     []Event // that are no replies
	replies    bool
	situations []situation
}

func chapters() []chapter {
	beforeMail := []situation{
		{"Opportunistic", Circumstances{}},
		{"Opportunistic, after TLS failed", Circumstances{FellBack: true}},
		{"TLS is mandatory", Circumstances{Mandatory: true}},
		{"RequireTLS", Circumstances{Mandatory: true, RequireTLS: true}},
	}
	inMail := []situation{
		{"in TLS", Circumstances{InTLS: true}},
		{"in cleartext", Circumstances{}},
		{"in cleartext, after TLS failed", Circumstances{FellBack: true}},
	}
	kept := situation{"in TLS, kept since another message", Circumstances{InTLS: true, Kept: true}}
	atRCPT := append(inMail[:len(inMail):len(inMail)],
		situation{"in TLS, after an accepted recipient", Circumstances{InTLS: true, AfterAccepted: true}},
		situation{"the same, with 5.2.2 or 5.3.4", Circumstances{InTLS: true, AfterAccepted: true, OwnLimit: true}}, kept,
	)
	atOthers := append(inMail[:len(inMail):len(inMail)], kept)
	common := []Event{Garbage, Lost, TimedOut}
	return []chapter{
		{StepGreeting, "Greeting", common, true, beforeMail},
		{StepEHLO, "EHLO in cleartext", common, true, beforeMail},
		{StepHELO, "HELO", common, true, beforeMail[:2]},
		{StepSTARTTLS, "STARTTLS", append([]Event{NotOffered}, common...), true, beforeMail},
		{StepHandshake, "TLS handshake", []Event{Completed, Unverified, Incapable, Alerted, Garbage, Lost, TimedOut}, false, beforeMail},
		{StepEHLOInTLS, "EHLO in TLS", append([]Event{Incapable, Alerted}, common...), true, beforeMail},
		{StepMAIL, "MAIL", common, true, atOthers},
		{StepRCPT, "RCPT", common, true, atRCPT},
		{StepDATA, "DATA", common, true, atOthers},
		{StepMessage, "The message and its end", common, true, inMail},
	}
}

// renderTable returns the table as Markdown: for each step the events, grouped by what
// they mean in all situations.
func renderTable() string {
	var b strings.Builder
	for _, c := range chapters() {
		fmt.Fprintf(&b, "### %s\n\n| the server |", c.name)
		for _, s := range c.situations {
			fmt.Fprintf(&b, " %s |", s.name)
		}
		b.WriteString("\n|---|" + strings.Repeat("---|", len(c.situations)) + "\n")
		var order []string
		groups := make(map[string][]Event)
		for _, e := range c.events() {
			var cells strings.Builder
			for _, s := range c.situations {
				fmt.Fprintf(&cells, " %s |", meaning(c.Step, Rule(c.Step, e, s.Circumstances)))
			}
			if groups[cells.String()] == nil {
				order = append(order, cells.String())
			}
			groups[cells.String()] = append(groups[cells.String()], e)
		}
		for _, cells := range order {
			fmt.Fprintf(&b, "| %s |%s\n", named(groups[cells]), cells)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func (c chapter) events() []Event {
	var all []Event
	if c.replies {
		for code := Event(200); code <= 599; code++ {
			all = append(all, code)
		}
	}
	return append(all, c.others...)
}

// meaning returns a ruling in words.
func meaning(s Step, r Ruling) string {
	text := map[Action]string{
		Proceed: "go on", SayHELO: "HELO", StayClear: "go on in cleartext", Retry: "new connection with less TLS",
		TryNext: "next host", Again: "another transaction", Redial: "new connection to the same address",
	}[r.Action]
	switch {
	case r.Action == TryNext && r.Verdict == Permanent:
		text += "; permanent if all hosts fail so"
	case r.Action == Proceed && s == StepRCPT:
		text = "accepted"
	case r.Action == Decided:
		text = map[Verdict]string{Accepted: "delivered", Permanent: "permanent failure", Temporary: "temporary failure", Unknown: "outcome unknown"}[r.Verdict]
	}
	if r.Action == TryNext && r.Alive && s <= StepEHLOInTLS {
		text = "QUIT, " + text
	}
	return text + map[Result]string{NoTLS: " (report: no STARTTLS)", FailedTLS: " (report: TLS failed)", GoodTLS: " (report: success)"}[r.Result]
}

// named returns a list of events in words: classes of replies, with exceptions.
func named(events []Event) string {
	codes := make(map[int][]int) // by class
	var names []string
	for _, e := range events {
		if class := e.Class(); class > 0 {
			codes[class] = append(codes[class], int(e))
		}
	}
	for class := 2; class <= 5; class++ {
		in := codes[class]
		switch {
		case len(in) == 100:
			names = append(names, fmt.Sprintf("%dyz", class))
		case len(in) > 50:
			var except []string
			for code := class * 100; code < class*100+100; code++ {
				if !slices.Contains(in, code) {
					except = append(except, fmt.Sprint(code))
				}
			}
			names = append(names, fmt.Sprintf("%dyz except %s", class, strings.Join(except, " and ")))
		default:
			for _, code := range in {
				names = append(names, fmt.Sprint(code))
			}
		}
	}
	unanswered := slices.Contains(events, Lost) && slices.Contains(events, TimedOut)
	for _, e := range events {
		switch e {
		case Lost:
			if unanswered {
				names = append(names, "closes or stays silent")
			} else {
				names = append(names, "closes")
			}
		case TimedOut:
			if !unanswered {
				names = append(names, "stays silent")
			}
		case Garbage:
			names = append(names, "does not keep to the protocol")
		case NotOffered:
			names = append(names, "does not offer it")
		case Completed:
			names = append(names, "completes it, verified as the plan demands")
		case Unverified:
			names = append(names, "is not the one that the plan demands")
		case Incapable:
			names = append(names, "lacks the TLS that is needed")
		case Alerted:
			names = append(names, "sends another alert")
		}
	}
	return strings.Join(names, ", ")
}
