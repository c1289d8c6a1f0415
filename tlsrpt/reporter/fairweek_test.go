package reporter_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/internal/test/reporttest"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// A week of one sender with hostile domains, a tenth of all. They have tarpits over mail and
// https at eight endpoints each, name servers that do not answer, a wildcard of names of one
// owner, and they name third parties in rua: eight addresses of one, and many hosts of
// another. Every other domain gets its report within the night, no third party gets more
// than one delivery per interval, and no owner of many names takes more than its share.
//
// There are 400 domains, or as many as the environment variable MXSEAL_DOMAINS says.
func TestHostileWeekDelaysNoOther(t *testing.T) {
	if testing.Short() {
		t.Skip("simulates a week")
	}
	t.Parallel()
	count := 400
	if text := os.Getenv("MXSEAL_DOMAINS"); text != "" {
		var err error
		if count, err = strconv.Atoi(text); err != nil || count < 100 {
			t.Fatalf("MXSEAL_DOMAINS is %q", text)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		w := newHostileWorld(t, count)
		w.start(w.config())
		for day := range 7 {
			w.checkNight(day)
		}
		if tarpitted := w.tarpitted.Load(); tarpitted < count/10 {
			t.Errorf("%d deliveries to tarpits: nothing was shown", tarpitted)
		}
	})
}

const (
	// night is when all reports are sent: they begin within four hours after midnight.
	night = 8 * time.Hour
	// kinds is the number of kinds of hostile domains.
	kinds = 6
)

// hostileWorld is a world with many domains. It keeps only what the test checks.
type hostileWorld struct {
	*world
	good, hostile []string
	tarpitted     counter

	guarded   sync.Mutex
	delivered map[string]int           // this night, by address
	last      map[string]time.Duration // the last delivery to a third party
	many      int                      // lookups for the owner of many names, this night
	others    int                      // those before the last one for a good domain
	seen      map[string]bool          // good domains that were looked up this night
}

// counter is a number that goroutines add to.
type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) add() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return c.n
}

func (c *counter) Load() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

func newHostileWorld(t *testing.T, count int) *hostileWorld {
	w := &hostileWorld{world: newWorld(t), last: make(map[string]time.Duration)}
	w.txt = make(map[string][]string, count)
	eight := func(form string, i int) string {
		uris := make([]string, tlsrpt.MaxEndpoints)
		for k := range uris {
			uris[k] = fmt.Sprintf(form, k, i)
		}
		return strings.Join(uris, ",")
	}
	for i := range count {
		name, rua := fmt.Sprintf("d%d.example", i), ""
		if i%10 > 0 {
			rua = "mailto:tls@" + name
			if i%20 == 1 {
				rua = fmt.Sprintf("mailto:d%d@provider.example", i) // which others use as well
			}
			w.good = append(w.good, name)
		} else {
			switch i / 10 % kinds {
			case 0:
				rua = eight("mailto:t@tarpit%d-%d.example", i)
			case 1:
				rua = eight("https://tarpit%d-%d.example/", i)
			case 2:
				name, rua = fmt.Sprintf("n%d.many.example", i), eight("mailto:t@tarpit%d-%d.example", i)
			case 3:
				rua = eight("mailto:a%d-%d@victim.example", i)
			case 4:
				rua = eight("https://h%d-%d.wildcard.example/", i)
			case 5:
				name = fmt.Sprintf("mute%d.example", i)
			}
			w.hostile = append(w.hostile, name)
		}
		w.txt[name] = []string{"v=TLSRPTv1; rua=" + rua}
	}
	return w
}

func (w *hostileWorld) config() reporter.Config {
	config := w.world.config()
	config.Resolver, config.Dial, config.Mailer = w, w.dial, reporter.MailerFunc(w.sendMail)
	config.Logger = nil
	return config
}

func (w *hostileWorld) LookupTXT(ctx context.Context, name string) ([]string, error) {
	domain := strings.TrimSuffix(strings.TrimPrefix(name, "_smtp._tls."), ".")
	if strings.HasPrefix(domain, "mute") {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	w.guarded.Lock()
	defer w.guarded.Unlock()
	switch {
	case strings.HasSuffix(domain, ".many.example"):
		w.many++
	case domain[0] == 'd' && !w.seen[domain]:
		w.seen[domain], w.others = true, w.many
	}
	return w.txt[domain], nil
}

// dial hangs, or connects to an endpoint that does not answer.
func (w *hostileWorld) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if w.tarpitted.add()%16 > 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	client, server := net.Pipe()
	context.AfterFunc(ctx, func() { server.Close() })
	return client, nil
}

func (w *hostileWorld) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if strings.HasSuffix(host, ".wildcard.example.") {
		w.thirdParty(host)
		return nil, errors.New("no address")
	}
	return w.world.LookupNetIP(ctx, network, host)
}

func (w *hostileWorld) sendMail(ctx context.Context, _ string, to []string, message []byte) error {
	if strings.Contains(to[0], "@tarpit") {
		w.tarpitted.add()
		<-ctx.Done()
		return ctx.Err()
	}
	if strings.HasSuffix(to[0], "@victim.example") {
		w.thirdParty("victim.example")
		return errors.New("550 no such user")
	}
	w.guarded.Lock()
	defer w.guarded.Unlock()
	w.delivered[to[0]]++
	if len(w.delivered)%50 == 1 { // reading all would take longer than sending them
		if _, err := reporttest.Mailed(message); err != nil {
			w.t.Error(err)
		}
	}
	return nil
}

// thirdParty notes a delivery to one who did not ask for it.
func (w *hostileWorld) thirdParty(host string) {
	w.guarded.Lock()
	defer w.guarded.Unlock()
	owner := names.Registrable(strings.TrimSuffix(host, "."))
	now := w.now().Sub(midnight)
	if before, known := w.last[owner]; known && now-before < time.Second {
		w.t.Errorf("%s gets two deliveries %v apart", owner, now-before)
	}
	w.last[owner] = now
}

// checkNight lets all domains have sessions on a day, waits for the end of the night after
// it and then of the next day, and checks what was sent in the night.
func (w *hostileWorld) checkNight(n int) {
	a := newAggregator(w.t, reporter.AggregatorConfig{Store: &w.store})
	day := today + report.Day(n)
	for name := range w.txt {
		s := session(met(tlsrpt.Policy{Type: tlsrpt.NoPolicyFound, Domain: name}))
		s.Domain, s.Time = name, day.Start()
		a.Record(s)
	}
	if err := a.Flush(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.guarded.Lock()
	w.delivered, w.seen, w.many, w.others = make(map[string]int), make(map[string]bool), 0, 0
	w.guarded.Unlock()
	wait(night)
	w.guarded.Lock()
	got, others := maps.Clone(w.delivered), w.others
	w.guarded.Unlock()
	late := 0
	for address, times := range got {
		if times != 1 {
			w.t.Errorf("%s gets %d reports in night %d", address, times, n)
		}
	}
	for _, name := range w.good {
		provided := "d" + strings.TrimSuffix(strings.TrimPrefix(name, "d"), ".example") + "@provider.example"
		if got["tls@"+name]+got[provided] == 0 {
			late++
		}
	}
	if late > 0 {
		w.t.Errorf("night %d: %d of %d domains did not get their reports", n, late, len(w.good))
	}
	if share := 3 + len(w.txt)/100; others > share && n == 0 {
		w.t.Errorf("%d names of one owner came before the last of the other domains", others)
	}
	wait(24*time.Hour - night)
}
