package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mxseal/mxseal/examples/internal/situations"
)

// Column widths. A line has 110 columns with a space between them.
const (
	domainWidth    = 18
	situationWidth = 37
	mailWidth      = 13
	byWidth        = 13
)

// printTable prints a line for each situation, and a summary.
func printTable(w io.Writer, groups []situations.Group, results map[string]situations.Result, took time.Duration) error {
	var text strings.Builder
	row := func(domain, situation string, mail any, by, why string) {
		line := pad(domain, domainWidth) + " " + pad(situation, situationWidth) + " " +
			pad(fmt.Sprint(mail), mailWidth) + " " + pad(by, byWidth) + " " + why
		text.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	var wrong strings.Builder
	row("DOMAIN", "SITUATION", "MAIL", "BY", "WHY")
	for _, g := range groups {
		fmt.Fprintf(&text, "\n%s\n\n", g.Title)
		for _, each := range g.Situations {
			r := results[each.Domain]
			by := r.Got.By.String()
			if r.Got.By == 0 {
				by = "-"
			}
			row(each.Recipient(), each.Title, r.Got.Mail, by, r.Why)
			if r.Wrong != nil {
				fmt.Fprintf(&wrong, "WRONG: %s: %v\n", each.Domain, r.Wrong)
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

// printJSON prints one object per line for each situation.
func printJSON(w io.Writer, groups []situations.Group, results map[string]situations.Result) error {
	encoder := json.NewEncoder(w)
	for _, each := range situations.All(groups) {
		r := results[each.Domain]
		line := struct {
			Domain    string `json:"domain"`
			Situation string `json:"situation"`
			Expected  string `json:"expected"`
			Got       string `json:"got"`
			OK        bool   `json:"ok"`
			By        string `json:"by"`
			Why       string `json:"why"`
			Wrong     string `json:"wrong,omitempty"`
		}{r.Domain, r.Title, r.Want.String(), r.Got.String(), r.Wrong == nil, r.Got.By.String(), r.Explanation, ""}
		if r.Wrong != nil {
			line.Wrong = r.Wrong.Error()
		}
		if err := encoder.Encode(line); err != nil {
			return err
		}
	}
	return nil
}
