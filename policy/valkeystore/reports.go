package valkeystore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

const (
	// keepSums is how long sums are kept after they were last added to or sealed.
	// A day takes one, and is reported within the two days after it. It is counted
	// by the server from a call on, so that no clock matters.
	keepSums = 5 * 24 * time.Hour
	// keepWriter is how long the last number of a writer is remembered.
	keepWriter = 4 * 24 * time.Hour

	// maxStoredDomains bounds the domains of a day.
	maxStoredDomains = 1 << 20
	// pageDomains is about how many domains the server looks at in one call.
	pageDomains = 512
)

// Reports keeps the TLS report sums of several relays. All of them add sums, and one at
// a time reports. It is a [reporter.Store] and
// [reporter.Leaser], and safe for concurrent use.
type Reports struct {
	store      *Store
	keys       reportKeys
	maxDomains int
}

var (
	_ reporter.Store  = (*Reports)(nil)
	_ reporter.Leaser = (*Reports)(nil)
)

// Reports returns the store of TLS report sums on the server. It shares the connection
// of the Store, and is closed with it.
func (s *Store) Reports() *Reports {
	return &Reports{store: s, keys: newReportKeys(s.keys.reports), maxDomains: maxStoredDomains}
}

// Add implements [reporter.Store]. A day takes a million domains; of one domain it
// takes what an [reporter.Aggregator] counts, and at most 4 MiB of text. What goes
// beyond is summed up by type. Sums that are damaged take nothing more, which is
// [reporter.ErrStoreFull] too.
func (r *Reports) Add(ctx context.Context, b *reporter.Batch) error {
	all, err := additions(b)
	if err != nil || len(all) == 0 {
		return err
	}
	keys, args := r.command(b, all)
	answer, err := r.eval(ctx, addScript, keys, args).AsInt64()
	switch {
	case err != nil:
		return r.store.failed("add sums", "", err)
	case answer < 0:
		return r.store.failed("add sums", "", reporter.ErrStoreFull)
	case answer > int64(len(all)):
		return r.store.failed("add sums", "", fmt.Errorf("the server answers %d", answer))
	case answer > 0:
		return refuse(all[answer-1].domain, "what is stored is damaged")
	}
	return nil
}

// Domains implements [reporter.Store]. A domain may come twice.
func (r *Reports) Domains(ctx context.Context, day report.Day) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		var damaged error // is nothing to the other domains
		for page, err := range r.pages(ctx, day) {
			if err != nil {
				yield("", err)
				return
			}
			for _, domain := range page {
				if !isDomain(domain) {
					damaged = r.store.failed("domains of "+day.String(), domain, errors.New("this is none"))
				} else if !yield(domain, nil) {
					return
				}
			}
		}
		if damaged != nil {
			yield("", damaged)
		}
	}
}

// pages yields the stored names of the domains of a day. What is too long for one
// comes shortened, yet not to what may be one.
func (r *Reports) pages(ctx context.Context, day report.Day) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		for cursor := "0"; ; {
			next, page, err := pair(r.eval(ctx, pageScript, []string{r.keys.domains(day)},
				[]string{cursor, strconv.Itoa(pageDomains), strconv.Itoa(maxDomainName + 1)}))
			if err != nil {
				yield(nil, r.store.failed("domains of "+day.String(), "", err))
				return
			}
			if !yield(page, nil) || next == "0" {
				return
			}
			cursor = next
		}
	}
}

// Sums implements [reporter.Store].
func (r *Reports) Sums(ctx context.Context, day report.Day, domain string) (reporter.Part, error) {
	return r.part(ctx, sumsScript, "sums", day, domain)
}

// Seal implements [reporter.Store].
func (r *Reports) Seal(ctx context.Context, day report.Day, domain string) (reporter.Part, error) {
	return r.part(ctx, sealScript, "seal", day, domain)
}

func (r *Reports) part(ctx context.Context, script, doing string, day report.Day, domain string) (reporter.Part, error) {
	number, fields, err := pair(r.eval(ctx, script,
		[]string{r.keys.sealed(day, domain), r.keys.open(day, domain), r.keys.parts(day)},
		[]string{domain, seconds(keepSums), strconv.Itoa(maxFields), strconv.Itoa(maxOctets)}))
	var part reporter.Part
	if err == nil {
		part, err = decodePart(domain, number, fields)
	}
	return part, r.store.failed(doing+" "+day.String(), domain, err)
}

// Delete implements [reporter.Store].
func (r *Reports) Delete(ctx context.Context, day report.Day, domain string, number int) error {
	err := r.eval(ctx, deletePartScript,
		[]string{r.keys.sealed(day, domain), r.keys.open(day, domain), r.keys.domains(day)},
		[]string{domain, strconv.Itoa(number)}).Error()
	return r.store.failed("delete "+day.String(), domain, err)
}

// DeleteBefore implements [reporter.Store]. Days that may still be reported by the
// clock of the server are not deleted, for a wrong clock would destroy what all
// relays have counted. That is an error.
func (r *Reports) DeleteBefore(ctx context.Context, day report.Day) error {
	today, err := r.today(ctx)
	if err != nil {
		return r.store.failed("delete old sums", "", err)
	}
	if day >= today {
		return r.store.failed("delete old sums", "", fmt.Errorf("the days before %s may be reported yet: the clock of the server says %s", day, today))
	}
	for {
		old, ok, err := r.oldest(ctx, day)
		if err != nil {
			return r.store.failed("delete old sums", "", err)
		}
		if !ok {
			return nil
		}
		if err := r.deleteDay(ctx, old); err != nil {
			return r.store.failed("delete "+old.String(), "", err)
		}
	}
}

// today is the day that the server has.
func (r *Reports) today(ctx context.Context) (report.Day, error) {
	now, err := r.store.link.do(ctx, func(b valkey.Builder) valkey.Completed { return b.Time().Build() }).AsStrSlice()
	if err != nil {
		return 0, err
	}
	if len(now) != 2 {
		return 0, errors.New("the server does not know the time")
	}
	second, err := strconv.ParseInt(now[0], 10, 64)
	return report.DayOf(time.Unix(second, 0)), err
}

// oldest returns the first day with sums before day.
func (r *Reports) oldest(ctx context.Context, day report.Day) (old report.Day, ok bool, err error) {
	text, err := r.eval(ctx, oldestScript, []string{r.keys.days}, []string{number(int64(day))}).ToString()
	if err != nil || text == "" {
		return 0, false, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err == nil && n >= int64(day) {
		err = fmt.Errorf("the server has %d before %d", n, day)
	}
	return report.Day(n), err == nil, err
}

// deleteDay deletes a day in steps, of which each leaves what is not deleted yet
// to be found.
func (r *Reports) deleteDay(ctx context.Context, day report.Day) error {
	for page, err := range r.pages(ctx, day) {
		if isRefusal(err) {
			break // this is no list, and what would be in it has an end of its own
		}
		if err != nil {
			return err
		}
		for some := range slices.Chunk(page, pageDomains) {
			keys := []string{r.keys.domains(day)}
			for _, domain := range some {
				keys = append(keys, r.keys.open(day, domain), r.keys.sealed(day, domain))
			}
			if err := r.eval(ctx, deletePageScript, keys, some).Error(); err != nil {
				return err
			}
		}
	}
	return r.eval(ctx, endDayScript, []string{r.keys.days, r.keys.domains(day), r.keys.parts(day)},
		[]string{number(int64(day))}).Error()
}

// Lease implements [reporter.Leaser]. The server counts d.
func (r *Reports) Lease(ctx context.Context, day report.Day, domain string, d time.Duration) (release func(), ok bool, err error) {
	release, ok, err = r.store.hold(ctx, r.keys.lease(day, domain), d)
	return release, ok, r.store.failed("lease "+day.String(), domain, err)
}

// eval executes a script.
func (r *Reports) eval(ctx context.Context, script string, keys, args []string) valkey.ValkeyResult {
	return r.store.link.do(ctx, func(b valkey.Builder) valkey.Completed {
		return b.Eval().Script(script).Numkeys(int64(len(keys))).Key(keys...).Arg(args...).Build()
	})
}

// pair reads a reply of a string and a list.
func pair(reply valkey.ValkeyResult) (first string, list []string, err error) {
	both, err := reply.ToArray()
	if err != nil {
		return "", nil, err
	}
	if len(both) != 2 {
		return "", nil, fmt.Errorf("the server answers with %d values", len(both))
	}
	if first, err = both[0].ToString(); err != nil {
		return "", nil, err
	}
	list, err = both[1].AsStrSlice()
	return first, list, err
}

// isRefusal reports whether the server has answered, with an error.
func isRefusal(err error) bool {
	var answered *valkey.ValkeyError
	return errors.As(err, &answered)
}

// reportKeys are the names under which Reports keeps things. None begins as those
// of policies do, whose changes are told to all relays.
type reportKeys struct{ prefix, days string }

func newReportKeys(prefix string) reportKeys { return reportKeys{prefix, prefix + "days"} }

// domains is a set, parts a hash from domains to how many parts were sealed. Both
// are of a day.
func (k reportKeys) domains(day report.Day) string { return k.prefix + "domains:" + day.String() }
func (k reportKeys) parts(day report.Day) string   { return k.prefix + "parts:" + day.String() }

// open and sealed are the hashes of a domain: what is added to, and the part that
// is reported.
func (k reportKeys) open(day report.Day, domain string) string {
	return k.prefix + "open:" + day.String() + ":" + domain
}
func (k reportKeys) sealed(day report.Day, domain string) string {
	return k.prefix + "sealed:" + day.String() + ":" + domain
}

func (k reportKeys) lease(day report.Day, domain string) string {
	return k.prefix + "lease:" + day.String() + ":" + domain
}

// writer is a hash of the last number, and whether that was refused.
func (k reportKeys) writer(name string) string { return k.prefix + "writer:" + name }

func number(n int64) string          { return strconv.FormatInt(n, 10) }
func seconds(d time.Duration) string { return number(int64(d / time.Second)) }
