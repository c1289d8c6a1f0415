package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/tlsrpt/report"
)

// domainPage is all that is known about a domain.
type domainPage struct {
	Domain      string
	Explanation string
	Policy      *policyRow // nil if there is none in memory
	Wait        *waitRow   // nil if no mail had to wait
	Events      []eventRow
	Reports     []reportText
}

// reportText is the report that a domain would get for a day.
type reportText struct {
	Day  report.Day
	Text string
}

// domain looks up a domain and shows what is known about it.
func (s *server) domain(ctx context.Context, q query) (string, any) {
	d := domainPage{Domain: line(q.domain)}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var text strings.Builder
	s.writeExplanation(ctx, &text, q.domain)
	d.Explanation = text.String()
	name, err := names.Canonical(q.domain)
	if err != nil {
		return "domain", d // the explanation says so
	}
	d.Domain = name
	for known := range s.Resolver.Policies() {
		if known.Domain == name {
			row := s.policyRow(known)
			d.Policy = &row
		}
	}
	if wait, found := s.Waits.Of(name); found {
		row := s.waitRow(wait)
		d.Wait = &row
	}
	for event := range s.Events.Latest() {
		if event.Domain == name {
			d.Events = append(d.Events, s.eventRow(event))
		}
	}
	d.Reports = s.previews(ctx, name)
	return "domain", d
}

// previews returns the reports of yesterday and today as they are now.
func (s *server) previews(ctx context.Context, domain string) (texts []reportText) {
	if s.Reporter == nil {
		return nil
	}
	today := report.DayOf(s.Now())
	for _, day := range []report.Day{today - 1, today} {
		var text strings.Builder
		preview, err := s.Reporter.Preview(ctx, domain, day)
		switch {
		case err != nil:
			text.WriteString(line(err.Error()))
		case preview == nil:
			continue
		default:
			_ = preview.Explain(&text)
		}
		texts = append(texts, reportText{day, cut(text.String())})
	}
	return texts
}

// cut shortens a text of many lines.
func cut(text string) string {
	if len(text) > maxText {
		return strings.ToValidUTF8(text[:maxText], "") + "\n..."
	}
	return text
}

// explain writes the explanation as text, for "mxseal explain".
func (s *server) explain(w http.ResponseWriter, r *http.Request) {
	domain := r.URL.Query().Get("domain")
	switch {
	case isForeign(r):
		http.Error(w, "refused: a page of another site sent this request", http.StatusForbidden)
	case domain == "" || len(domain) > 4*maxName:
		http.Error(w, "want ?domain=NAME", http.StatusBadRequest)
	default:
		s.writeExplanation(r.Context(), w, domain)
	}
}

// writeExplanation writes how the plan of a domain was made, and what mail servers get.
func (s *server) writeExplanation(ctx context.Context, w io.Writer, domain string) {
	plan, err := s.Resolver.Resolve(ctx, domain)
	var text strings.Builder
	switch {
	case err == nil:
		_ = plan.Explain(&text)
	case errors.Is(err, context.DeadlineExceeded):
		fmt.Fprintf(&text, "%s\nThe lookup takes long. Ask again in a moment.\n", names.Printable(err.Error(), 4096))
	default:
		fmt.Fprintln(&text, names.Printable(err.Error(), 4096))
	}
	_, _ = io.WriteString(w, cut(text.String()))
	s.Answers(w, plan, err)
}
