package tlsrpt

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
)

// submission is a report in the form in which it goes out, and its names.
type submission struct {
	domain    string // that the report is for
	submitter string
	id        string // report-id, which is left@right as in a Message-ID
	filename  string
	report    *Report
	gzip      []byte
}

// newReport makes the report of a domain and day. Its ID is the same whenever it
// is made (RFC 8460 section 5.3).
func (r *Reporter) newReport(domain string, day Day, part Part) *Report {
	return &Report{
		Organization: r.cfg.Organization,
		Dates:        DateRange{day.Start(), day.End()},
		Contact:      r.cfg.Contact,
		ID:           r.reportID(domain, day, part.Number),
		Policies:     MergeResults(domain, nil, part.Sums), // whatever the Store made of them
	}
}

// reportID is id-left "@" id-right, for the header has it in this form.
func (r *Reporter) reportID(domain string, day Day, part int) string {
	left := day.Start().Format("20060102")
	if part > 1 {
		left += "-" + strconv.Itoa(part)
	}
	left += "." + domain
	if r.cfg.Instance != "" {
		left += "." + r.cfg.Instance
	}
	return left + "@" + r.submitter
}

// filename is that of RFC 8460 section 5.1.
func (r *Reporter) filename(domain string, day Day, part int) string {
	name := fmt.Sprintf("%s!%s!%d!%d", r.submitter, domain, day.Start().Unix(), day.End().Unix())
	uniqueID := r.cfg.Instance
	if part > 1 {
		uniqueID += "part" + strconv.Itoa(part)
	}
	if uniqueID != "" {
		name += "!" + uniqueID
	}
	return name + ".json.gz"
}

// build makes the report of a domain and day ready for sending.
func (r *Reporter) build(domain string, day Day, part Part) (*submission, error) {
	report := r.newReport(domain, day, part)
	text, err := fit(report, r.cfg.MaxSize)
	if err != nil {
		return nil, err
	}
	return &submission{
		domain: domain, submitter: r.submitter,
		id: report.ID, filename: r.filename(domain, day, part.Number),
		report: report, gzip: r.compressor.compress(text),
	}, nil
}

// fit returns report in JSON, in at most max octets if that can be had by telling
// fewer of the failures one by one, the rarest first, or in the last resort by
// leaving out the texts of the policies. The totals stay.
func fit(report *Report, max int) ([]byte, error) {
	text, err := report.MarshalJSON()
	if err != nil || len(text) <= max {
		return text, err
	}
	full := report.Policies
	rarest := rarestFirst(full)
	told := sort.Search(len(rarest), func(n int) bool {
		report.Policies = withoutDetails(full, rarest[:n])
		text, err = report.MarshalJSON()
		return err != nil || len(text) <= max
	})
	report.Policies = withoutDetails(full, rarest[:told])
	if text, err = report.MarshalJSON(); err != nil || len(text) <= max {
		return text, err
	}
	for i := range report.Policies {
		report.Policies[i].Policy.Strings, report.Policies[i].Policy.MXHosts = nil, nil
	}
	return report.MarshalJSON()
}

// place is where in a report a detail is.
type place struct{ policy, detail int }

func rarestFirst(results []PolicyResult) []place {
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

// withoutDetails returns results in which the details at places are summed up by
// type.
func withoutDetails(results []PolicyResult, places []place) []PolicyResult {
	leave := make(map[place]bool, len(places))
	for _, p := range places {
		leave[p] = true
	}
	cut := slices.Clone(results)
	for i := range cut {
		failures := cut[i].Summary.Failures
		sums := make(map[Detail]int64)
		cut[i].Details = nil
		for j, d := range results[i].Details {
			summed := omitted(d)
			if leave[place{i, j}] || d == withSessions(summed, d.Sessions) {
				sums[summed] += d.Sessions
			} else {
				cut[i].Details = append(cut[i].Details, d)
			}
		}
		for d, sessions := range sums {
			cut[i].Details = append(cut[i].Details, withSessions(d, min(sessions, failures)))
		}
		slices.SortFunc(cut[i].Details, compareDetails)
	}
	return cut
}

func withSessions(d Detail, sessions int64) Detail {
	d.Sessions = sessions
	return d
}

// compressor compresses one text after the other: making a gzip.Writer takes
// longer than compressing a usual report. The zero value is ready for use.
type compressor struct{ writers sync.Pool }

// compress returns text in gzip.
func (c *compressor) compress(text []byte) []byte {
	w, ok := c.writers.Get().(*gzip.Writer)
	if !ok {
		w = gzip.NewWriter(nil)
	}
	defer c.writers.Put(w)
	var b bytes.Buffer
	w.Reset(&b)
	// Writing to memory does not fail.
	_, _ = w.Write(text)
	_ = w.Close()
	return b.Bytes()
}

// describe tells a person what a report says.
func describe(s *submission) string {
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

const timeFormat = "2006-01-02 15:04:05 UTC"
