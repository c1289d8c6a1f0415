package serve

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/mxseal/mxseal/examples/mxseal/internal/relay"
	"github.com/mxseal/mxseal/examples/mxseal/internal/socketmap"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
	"github.com/mxseal/mxseal/policy/metrics"
)

// transportMap is the name of the map that gives mail to the relay.
const transportMap = "transport"

// relaying takes mail and delivers it.
type relaying struct {
	relay     *relay.Relay
	pool      *delivery.Pool
	transport *relay.Transport // nil if there is no map
	answers   *socketmap.Server
}

// newRelaying returns what relays mail. deliveries gets a line for each recipient.
func (d *daemon) newRelaying(deliveries *slog.Logger) (*relaying, error) {
	s := d.settings.Relay
	dialer := &delivery.Dialer{
		Resolver: d.resolver, LocalName: d.settings.Name, Logger: deliveries, Delivered: d.metrics.Delivered,
		Recorder: d.metrics.Recorder(metrics.Own, nil), DomainTimeout: relay.TimeToBegin(s.ClientTimeout),
	}
	if d.reports != nil {
		dialer.Recorder = d.metrics.Recorder(metrics.Own, d.reports.recorder)
	}
	r := &relaying{pool: &delivery.Pool{Dialer: dialer, MaxUses: s.MaxUses}}
	var err error
	r.relay, err = relay.New(relay.Config{
		Name: d.settings.Name, MaxSize: s.MaxSize, ClientTimeout: s.ClientTimeout, Convert8Bit: s.Convert8Bit, STARTTLS: s.STARTTLS,
		Send: r.send(d.undelivered), Submit: submitter(s.Submit, d.settings.Name), Logger: deliveries,
	})
	if err != nil {
		return nil, err
	}
	answers := map[string]socketmap.Map{}
	if s.Transport != nil {
		local := append(slices.Clone(s.LocalDomains), d.settings.Name)
		r.transport, err = relay.NewTransport(relay.TransportConfig{
			Dir: s.Links, Root: s.QueueDirectory, Socket: s.Socket, Now: time.Now, Logger: d.log,
			Local: func(domain string) bool { return slices.Contains(local, domain) },
		})
		if err != nil {
			return nil, err
		}
		answers[transportMap] = d.counted(r.transport.Map)
	}
	r.answers = socketmap.New(answers, d.log)
	return r, nil
}

// counted counts the answers of the transport map.
func (d *daemon) counted(answer socketmap.Map) socketmap.Map {
	levels := map[socketmap.Status]string{socketmap.Found: "relay", socketmap.NotFound: "notfound", socketmap.Temporary: "temp"}
	return func(ctx context.Context, key string) socketmap.Reply {
		begun := time.Now()
		reply := answer(ctx, key)
		d.metrics.Answered(transportMap, levels[reply.Status], nil, time.Since(begun))
		return reply
	}
}

// send delivers mail and tells which recipients do not get it.
func (r *relaying) send(undelivered func(error)) func(context.Context, delivery.Mail, ...policy.Option) (delivery.Result, error) {
	return func(ctx context.Context, mail delivery.Mail, options ...policy.Option) (delivery.Result, error) {
		result, err := r.pool.Send(ctx, mail, options...)
		undelivered(err)
		return result, err
	}
}

// start serves the sockets until shutdown, and removes old links until ctx is done.
func (r *relaying) start(ctx context.Context, s *sockets, listening *sync.WaitGroup, fail func(error)) {
	for _, l := range s.lmtp {
		listening.Go(func() { fail(r.relay.Serve(l, true)) })
	}
	for _, l := range s.smtp {
		listening.Go(func() { fail(r.relay.Serve(l, false)) })
	}
	for _, l := range s.transports {
		listening.Go(func() { fail(r.answers.Serve(l)) })
	}
	if r.transport != nil {
		listening.Go(func() { r.transport.Run(ctx) })
	}
}
