package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// Column widths. A line has 110 columns with a space between them.
const (
	domainWidth    = 18
	situationWidth = 37
	mailWidth      = 13
	byWidth        = 13
	whyWidth       = 25
)

// printTable prints a line for each scenario, and a summary.
func printTable(w io.Writer, groups []group, results map[string]result, took time.Duration) error {
	var text strings.Builder
	row := func(domain, situation string, mail any, by, why string) {
		line := pad(domain, domainWidth) + " " + pad(situation, situationWidth) + " " +
			pad(fmt.Sprint(mail), mailWidth) + " " + pad(by, byWidth) + " " + why
		text.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	var wrong strings.Builder
	row("DOMAIN", "SITUATION", "MAIL", "BY", "WHY")
	for _, g := range groups {
		fmt.Fprintf(&text, "\n%s\n\n", g.title)
		for _, each := range g.scenarios {
			r := results[each.domain]
			by := r.got.by.String()
			if r.got.by == 0 {
				by = "-"
			}
			row(each.recipient(), each.situation, r.got.mail, by, r.why)
			if r.wrong != nil {
				fmt.Fprintf(&wrong, "WRONG: %s: %v\n", each.domain, r.wrong)
			}
		}
	}
	text.WriteString("\n" + wrong.String())
	fmt.Fprintf(&text, "%d of %d domains as expected, in %v\n",
		len(results)-failures(results), len(results), took.Round(time.Millisecond))
	_, err := io.WriteString(w, text.String())
	return err
}

func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text)))
}

// printJSON prints one object per line for each scenario.
func printJSON(w io.Writer, groups []group, results map[string]result) error {
	encoder := json.NewEncoder(w)
	for _, each := range all(groups) {
		r := results[each.domain]
		line := struct {
			Domain    string `json:"domain"`
			Situation string `json:"situation"`
			Expected  string `json:"expected"`
			Got       string `json:"got"`
			OK        bool   `json:"ok"`
			By        string `json:"by"`
			Why       string `json:"why"`
			Wrong     string `json:"wrong,omitempty"`
		}{r.domain, r.situation, r.want.String(), r.got.String(), r.wrong == nil, r.got.by.String(), r.explanation, ""}
		if r.wrong != nil {
			line.Wrong = r.wrong.Error()
		}
		if err := encoder.Encode(line); err != nil {
			return err
		}
	}
	return nil
}
