package serve

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/mxseal/mxseal/examples/mxseal/internal/maps"
	"github.com/mxseal/mxseal/examples/mxseal/internal/web"
	"github.com/mxseal/mxseal/policy/delivery"
)

// noted is what the page for people shows besides what the Resolver knows.
type noted struct {
	events web.Events
	waits  web.Waits
}

// newPage returns the server for people and monitors.
func (d *daemon) newPage(dialer *delivery.Dialer) (*http.Server, error) {
	c := web.Config{
		Resolver: d.resolver, Answers: d.maps.Explain, Stalled: dialer.Stalled, Slow: d.maps.Slow,
		Events: &d.noted.events, Waits: &d.noted.waits, Metrics: d.scrapes(), Names: d.settings.HTTP.Names, Now: time.Now,
	}
	if d.reports != nil {
		c.Reporter, c.Store = d.reports.sender, d.reports.store
	}
	pages, err := web.New(c)
	if err != nil {
		return nil, err
	}
	return &http.Server{
		Handler: pages, ReadTimeout: time.Minute, WriteTimeout: 3 * time.Minute, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(d.log.Handler(), slog.LevelWarn),
	}, nil
}

// answered counts an answer of the socketmap, and notes that mail waits.
func (d *daemon) answered(a maps.Answer) {
	d.metrics.Answered(a.Map, a.Level, a.Lost, a.Took)
	if a.Reason != "" && a.Domain != "" {
		d.noted.waits.Note(a.Domain, a.Reason, time.Now())
	}
}

// undelivered counts the recipients that did not get a message, and notes why.
func (d *daemon) undelivered(err error) {
	d.metrics.Undelivered(err)
	var failed *delivery.SendError
	if !errors.As(err, &failed) {
		return
	}
	for _, u := range failed.Undelivered {
		if u.Err.Domain != "" {
			d.noted.waits.Note(u.Err.Domain, strings.TrimPrefix(u.Err.Error(), "policy: "), time.Now())
		}
	}
}
