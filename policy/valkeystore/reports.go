package valkeystore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

const (
	// keepSums is how long sums are kept after the last addition or seal,
	// measured by the server. A day lasts one day and is reported within the
	// seven following days.
	keepSums = 10 * 24 * time.Hour
	// keepWriter is how long the last batch number of a writer is kept.
	keepWriter = 4 * 24 * time.Hour

	// maxStoredDomains limits the number of domains of a day.
	maxStoredDomains = 1 << 20
	// reportedDays is the number of past days that a Reporter still reports, as in package
	// reporter.
	reportedDays = 7
	// pageDomains is about how many domains the server reads in one call.
	pageDomains = 512
)

// Reports stores the TLS report sums of several relays. All relays add sums,
// and one relay at a time reports each domain. It implements [reporter.Store]
// and [reporter.Leaser] and is safe for concurrent use.
type Reports struct {
	store      *Store
	keys       reportKeys
	maxDomains int

	mu     sync.Mutex
	before report.Day // of the last call of DeleteBefore
}

var (
	_ reporter.Store  = (*Reports)(nil)
	_ reporter.Leaser = (*Reports)(nil)

	_ reporter.BatchLimiter = (*Reports)(nil)
)

// Reports returns the store of TLS report sums on the server, the same one each time. It
// uses the connection of s and is closed with it.
func (s *Store) Reports() *Reports { return s.reports }

func newReports(s *Store) *Reports {
	return &Reports{store: s, keys: newReportKeys(s.keys.reports), maxDomains: maxStoredDomains, before: math.MinInt}
}

// Add implements [reporter.Store]. A day can have one million domains. The
// limits for each domain are those of a [reporter.Aggregator], and 512 KiB of
// text. What exceeds them is summed up by type. A batch for damaged sums is
// refused with [reporter.ErrStoreFull].
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
		return r.store.failed("add sums", "", fmt.Errorf("unexpected reply %d from the server", answer))
	case answer > 0:
		return refuse(all[answer-1].domain, "the stored sums are damaged")
	}
	return nil
}

// MaxBatch implements [reporter.BatchLimiter]. The server does nothing else while it adds
// a batch.
func (r *Reports) MaxBatch() int { return maxBatchDomains }

// Domains implements [reporter.Store]. It can yield a domain twice.
func (r *Reports) Domains(ctx context.Context, day report.Day) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		var damaged error // does not affect other domains
		for page, err := range r.pages(ctx, day) {
			if err != nil {
				yield("", err)
				return
			}
			for _, domain := range page {
				if !isDomain(domain) {
					damaged = r.store.failed("domains of "+day.String(), domain, errors.New("not a valid domain name"))
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

// pages yields the stored domain names of a day. Names that are too long are
// truncated, but remain too long to be valid.
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
func (r *Reports) Seal(ctx context.Context, day report.Day, domain string) (int, error) {
	part, err := r.part(ctx, sealScript, "seal", day, domain)
	return part.Number, err
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

// DeleteBefore implements [reporter.Store]. It returns an error and deletes
// nothing if more than one of the days would be deleted that are still reported
// according to the server's clock: one is for a relay that is past midnight already. So a
// relay with a wrong clock cannot delete the sums of all relays. It deletes only what the call before has asked for too, because the
// server's clock can be wrong for a moment.
func (r *Reports) DeleteBefore(ctx context.Context, day report.Day) error {
	asked := day
	r.mu.Lock()
	day, r.before = min(day, r.before), day
	r.mu.Unlock()
	today, err := r.today(ctx)
	if err != nil {
		return r.store.failed("delete old sums", "", err)
	}
	if asked > today-reportedDays+1 {
		return r.store.failed("delete old sums", "", fmt.Errorf("days before %s can still be reported, because it is %s by the clock of the server: check the clocks", asked, today))
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

// today returns the current day according to the server's clock.
func (r *Reports) today(ctx context.Context) (report.Day, error) {
	now, err := r.store.link.do(ctx, func(b valkey.Builder) valkey.Completed { return b.Time().Build() }).AsStrSlice()
	if err != nil {
		return 0, err
	}
	if len(now) != 2 {
		return 0, errors.New("invalid reply to TIME from the server")
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
		err = fmt.Errorf("unexpected day %d from the server, want one before %d", n, day)
	}
	return report.Day(n), err == nil, err
}

// deleteDay deletes a day in steps. If a step fails, the remaining sums can
// still be found.
func (r *Reports) deleteDay(ctx context.Context, day report.Day) error {
	for page, err := range r.pages(ctx, day) {
		if isRefusal(err) {
			break // not a set; its sums expire by themselves
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

// Lease implements [reporter.Leaser]. The server measures d.
func (r *Reports) Lease(ctx context.Context, day report.Day, domain string, d time.Duration) (release func(), ok bool, err error) {
	release, ok, err = r.store.hold(ctx, r.keys.lease(day, domain), d)
	return release, ok, r.store.failed("lease "+day.String(), domain, err)
}

// eval runs a script.
func (r *Reports) eval(ctx context.Context, script string, keys, args []string) valkey.ValkeyResult {
	return r.store.link.do(ctx, func(b valkey.Builder) valkey.Completed {
		return b.Eval().Script(script).Numkeys(int64(len(keys))).Key(keys...).Arg(args...).Build()
	})
}

// pair decodes a reply of a string and a list.
func pair(reply valkey.ValkeyResult) (first string, list []string, err error) {
	both, err := reply.ToArray()
	if err != nil {
		return "", nil, err
	}
	if len(both) != 2 {
		return "", nil, fmt.Errorf("unexpected reply with %d values from the server, want 2", len(both))
	}
	if first, err = both[0].ToString(); err != nil {
		return "", nil, err
	}
	list, err = both[1].AsStrSlice()
	return first, list, err
}

// isRefusal reports whether err is an error reply of the server.
func isRefusal(err error) bool {
	var answered *valkey.ValkeyError
	return errors.As(err, &answered)
}

// reportKeys builds the keys of Reports. They do not begin with the prefix of
// policy keys, whose changes the server announces to all relays.
type reportKeys struct{ prefix, days string }

func newReportKeys(prefix string) reportKeys { return reportKeys{prefix, prefix + "days"} }

// domains is the key of the set of domains of a day. parts is the key of a hash
// from domains to the number of sealed parts.
func (k reportKeys) domains(day report.Day) string { return k.prefix + "domains:" + day.String() }
func (k reportKeys) parts(day report.Day) string   { return k.prefix + "parts:" + day.String() }

// open and sealed are the keys of the hashes of a domain: the part that is
// added to, and the part that is being reported.
func (k reportKeys) open(day report.Day, domain string) string {
	return k.prefix + "open:" + day.String() + ":" + domain
}
func (k reportKeys) sealed(day report.Day, domain string) string {
	return k.prefix + "sealed:" + day.String() + ":" + domain
}

func (k reportKeys) lease(day report.Day, domain string) string {
	return k.prefix + "lease:" + day.String() + ":" + domain
}

func (k reportKeys) id() string { return k.prefix + "id" }

// writer is the key of a hash with the last batch number and whether that batch
// was refused.
func (k reportKeys) writer(name string) string { return k.prefix + "writer:" + name }

func number(n int64) string          { return strconv.FormatInt(n, 10) }
func seconds(d time.Duration) string { return number(int64(d / time.Second)) }
