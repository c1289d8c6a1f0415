package reporter

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter/internal/sums"
)

// submission is a report in the form in which it is sent.
type submission struct {
	domain    string // that the report is for
	submitter string // domain of the sender
	filename  string
	report    *report.Report
	gzip      []byte
}

// builder builds submissions.
type builder struct {
	organization, contact string
	submitter             string // domain of contact
	maxSize               int
	compressor            compressor
}

// build builds the report of a job, ready to be sent.
func (r *Reporter) build(ctx context.Context, j job, part Part) (*submission, error) {
	instance, err := r.instance.get(ctx)
	if err != nil {
		return nil, err
	}
	return r.builder.build(instance, j, part)
}

// build builds the report of a job. Its ID is the same each time (RFC 8460 section 5.3).
func (b *builder) build(instance string, j job, part Part) (*submission, error) {
	built := &report.Report{
		Organization: b.organization,
		Dates:        report.DateRange{Start: j.day.Start(), End: j.day.End()},
		Contact:      b.contact,
		ID:           b.reportID(instance, j, part.Number),
		Policies:     MergeResults(j.domain, nil, part.Sums), // which also checks what the Store returned
	}
	text, err := fit(built, b.maxSize)
	if err != nil {
		return nil, err
	}
	return &submission{
		domain: j.domain, submitter: b.submitter, filename: b.filename(instance, j, part.Number),
		report: built, gzip: b.compressor.compress(text),
	}, nil
}

// reportID has the form id-left "@" id-right, because the ID is also that of the
// message.
func (b *builder) reportID(instance string, j job, part int) string {
	left := j.day.Start().Format("20060102")
	if part > 1 {
		left += "-" + strconv.Itoa(part)
	}
	left += "." + j.domain
	if instance != "" {
		left += "." + instance
	}
	return left + "@" + b.submitter
}

// filename has the form of RFC 8460 section 5.1.
func (b *builder) filename(instance string, j job, part int) string {
	name := fmt.Sprintf("%s!%s!%d!%d", b.submitter, j.domain, j.day.Start().Unix(), j.day.End().Unix())
	uniqueID := instance
	if part > 1 {
		uniqueID += "part" + strconv.Itoa(part)
	}
	if uniqueID != "" {
		name += "!" + uniqueID
	}
	return name + ".json.gz"
}

// fit returns a report in JSON. If it is longer than max octets, fit replaces
// details by sums for each result type, the rarest details first, and as a last
// resort omits the texts of the policies. The totals stay.
func fit(r *report.Report, max int) ([]byte, error) {
	text, err := r.MarshalJSON()
	if err != nil || len(text) <= max {
		return text, err
	}
	full := r.Policies
	rarest := rarestFirst(full)
	omitted := sort.Search(len(rarest), func(n int) bool {
		r.Policies = withoutDetails(full, rarest[:n])
		text, err = r.MarshalJSON()
		return err != nil || len(text) <= max
	})
	r.Policies = withoutDetails(full, rarest[:omitted])
	if text, err = r.MarshalJSON(); err != nil || len(text) <= max {
		return text, err
	}
	for i := range r.Policies {
		r.Policies[i].Policy.Strings, r.Policies[i].Policy.MXHosts = nil, nil
	}
	return r.MarshalJSON()
}

// place is the position of a detail in a report.
type place struct{ policy, detail int }

func rarestFirst(results []report.PolicyResult) []place {
	var places []place
	for i := range results {
		for j := range results[i].Details {
			places = append(places, place{i, j})
		}
	}
	slices.SortStableFunc(places, func(a, b place) int {
		return cmp.Compare(results[a.policy].Details[a.detail].Sessions, results[b.policy].Details[b.detail].Sessions)
	})
	return places
}

// withoutDetails returns results in which the details at places are replaced by one
// sum for each result type.
func withoutDetails(results []report.PolicyResult, places []place) []report.PolicyResult {
	leave := make(map[place]bool, len(places))
	for _, p := range places {
		leave[p] = true
	}
	cut := slices.Clone(results)
	for i := range cut {
		totals := make(map[report.Detail]int64)
		cut[i].Details = nil
		for j, d := range results[i].Details {
			summed := sums.Omitted(d)
			if leave[place{i, j}] || d == withSessions(summed, d.Sessions) {
				totals[summed] += d.Sessions
			} else {
				cut[i].Details = append(cut[i].Details, d)
			}
		}
		for d, sessions := range totals {
			cut[i].Details = append(cut[i].Details, withSessions(d, min(sessions, cut[i].Summary.MaxSessions(d.Type))))
		}
		slices.SortFunc(cut[i].Details, sums.CompareDetails)
	}
	return cut
}

func withSessions(d report.Detail, sessions int64) report.Detail {
	d.Sessions = sessions
	return d
}

// compressor compresses texts. It keeps its gzip.Writers, because allocating one
// takes longer than compressing a report of usual size. The zero value is ready for
// use.
type compressor struct{ writers sync.Pool }

// compress returns text in gzip, at the level that takes a third of the time of the default
// one, and makes reports five percent larger.
func (c *compressor) compress(text []byte) []byte {
	w, ok := c.writers.Get().(*gzip.Writer)
	if !ok {
		w, _ = gzip.NewWriterLevel(nil, gzip.BestSpeed) // fails only for other levels
	}
	defer c.writers.Put(w)
	b := bytes.NewBuffer(make([]byte, 0, 128+len(text)/2))
	w.Reset(b)
	// Writing to memory does not fail.
	_, _ = w.Write(text)
	_ = w.Close()
	return b.Bytes()
}

// describe returns a summary of the report for a person to read.
func (s *submission) describe() string {
	const timeFormat = "2006-01-02 15:04:05 UTC"
	var b strings.Builder
	fmt.Fprintf(&b, "This is a TLS report (RFC 8460) for %s\r\nfrom %s.\r\n\r\n", s.domain, s.submitter)
	fmt.Fprintf(&b, "It covers the time from %s to %s.\r\n\r\n",
		s.report.Dates.Start.Format(timeFormat), s.report.Dates.End.Format(timeFormat))
	for i := range s.report.Policies {
		p := &s.report.Policies[i]
		fmt.Fprintf(&b, "%s %s:\r\n  %d sessions met the policy, %d did not.\r\n",
			p.Policy.Type, p.Policy.Domain, p.Summary.Successes, p.Summary.Failures)
	}
	b.WriteString("\r\nThe attachment has the details.\r\n")
	return b.String()
}
