package delivery

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var printTable = flag.Bool("table", false, "print the table of the conversation for docs/smtp.md")

// docs/smtp.md shows the table as it is.
func TestTableIsShown(t *testing.T) {
	table := renderTable()
	if *printTable {
		fmt.Print(table)
	}
	page, err := os.ReadFile("../../docs/smtp.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, begun := strings.Cut(string(page), "<!-- table -->\n")
	shown, _, ended := strings.Cut(rest, "<!-- end of table -->")
	if !begun || !ended || strings.TrimSpace(shown) != strings.TrimSpace(table) {
		t.Error("docs/smtp.md does not show the table of replies.go; replace its section by the output of: go test ./policy/delivery -run TestTableIsShown -args -table")
	}
}

// situation is a column: circumstances under a name.
type situation struct {
	name string
	circumstances
}

// chapter is the part of the table for a step.
type chapter struct {
	step       step
	name       string
	others     []event // that are no replies
	replies    bool
	situations []situation
}

func chapters() []chapter {
	beforeMail := []situation{
		{"Opportunistic", circumstances{}},
		{"Opportunistic, after TLS failed", circumstances{fellBack: true}},
		{"TLS is mandatory", circumstances{mandatory: true}},
		{"RequireTLS", circumstances{mandatory: true, requireTLS: true}},
	}
	inMail := []situation{
		{"in TLS", circumstances{inTLS: true}},
		{"in cleartext", circumstances{}},
		{"in cleartext, after TLS failed", circumstances{fellBack: true}},
	}
	atRCPT := append(inMail[:len(inMail):len(inMail)],
		situation{"in TLS, after an accepted recipient", circumstances{inTLS: true, afterAccepted: true}},
		situation{"the same, with 5.2.2 or 5.3.4", circumstances{inTLS: true, afterAccepted: true, ownLimit: true}},
	)
	common := []event{garbage, lost, timedOut}
	return []chapter{
		{stepGreeting, "Greeting", common, true, beforeMail},
		{stepEHLO, "EHLO in cleartext", common, true, beforeMail},
		{stepHELO, "HELO", common, true, beforeMail[:2]},
		{stepSTARTTLS, "STARTTLS", append([]event{notOffered}, common...), true, beforeMail},
		{stepHandshake, "TLS handshake", []event{completed, unverified, incapable, alerted, garbage, lost, timedOut}, false, beforeMail},
		{stepEHLOInTLS, "EHLO in TLS", append([]event{incapable, alerted}, common...), true, beforeMail},
		{stepMAIL, "MAIL", common, true, inMail},
		{stepRCPT, "RCPT", common, true, atRCPT},
		{stepDATA, "DATA", common, true, inMail},
		{stepMessage, "The message and its end", common, true, inMail},
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
		groups := make(map[string][]event)
		for _, e := range c.events() {
			var cells strings.Builder
			for _, s := range c.situations {
				fmt.Fprintf(&cells, " %s |", meaning(c.step, rule(c.step, e, s.circumstances)))
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

func (c chapter) events() []event {
	var all []event
	if c.replies {
		for code := event(200); code <= 599; code++ {
			all = append(all, code)
		}
	}
	return append(all, c.others...)
}

// meaning returns a ruling in words.
func meaning(s step, r ruling) string {
	text := map[action]string{
		proceed: "go on", sayHELO: "HELO", stayClear: "go on in cleartext", retry: "new connection with less TLS",
		tryNext: "next host", again: "another transaction",
	}[r.action]
	switch {
	case r.action == tryNext && r.verdict == permanent:
		text += "; permanent if all hosts fail so"
	case r.action == proceed && s == stepRCPT:
		text = "accepted"
	case r.action == decided:
		text = map[verdict]string{accepted: "delivered", permanent: "permanent failure", temporary: "temporary failure", unknown: "outcome unknown"}[r.verdict]
	}
	if r.action == tryNext && r.alive && s <= stepEHLOInTLS {
		text = "QUIT, " + text
	}
	return text + map[result]string{noTLS: " (report: no STARTTLS)", failedTLS: " (report: TLS failed)", goodTLS: " (report: success)"}[r.result]
}

// named returns a list of events in words: classes of replies, with exceptions.
func named(events []event) string {
	codes := make(map[int][]int) // by class
	var names []string
	for _, e := range events {
		if class := e.class(); class > 0 {
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
	unanswered := slices.Contains(events, lost) && slices.Contains(events, timedOut)
	for _, e := range events {
		switch e {
		case lost:
			if unanswered {
				names = append(names, "closes or stays silent")
			} else {
				names = append(names, "closes")
			}
		case timedOut:
			if !unanswered {
				names = append(names, "stays silent")
			}
		case garbage:
			names = append(names, "does not keep to the protocol")
		case notOffered:
			names = append(names, "does not offer it")
		case completed:
			names = append(names, "completes it, verified as the plan demands")
		case unverified:
			names = append(names, "is not the one that the plan demands")
		case incapable:
			names = append(names, "lacks the TLS that is needed")
		case alerted:
			names = append(names, "sends another alert")
		}
	}
	return strings.Join(names, ", ")
}
