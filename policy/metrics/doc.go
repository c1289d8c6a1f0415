// Package metrics exports the numbers of a mail sender to Prometheus.
//
//	aggregator, err := reporter.NewAggregator(reporter.AggregatorConfig{Store: store})
//	...
//	m, err := metrics.New(metrics.Config{Resolver: resolver, Aggregator: aggregator})
//	...
//	prometheus.MustRegister(m)
//	dialer := &delivery.Dialer{
//		Resolver:  resolver,
//		Recorder:  m.Recorder(metrics.Own, aggregator),
//		Delivered: m.Delivered,
//	}
//	err = dialer.SendMail(ctx, from, to, message)
//	m.Undelivered(err)
//
// reporter.Config.Attempted of the Reporter is m.Reported. A socketmap server calls m.Answered.
//
// Each part is optional except for the Resolver. Series without a source stay 0.
//
// # Series
//
// All labels have a fixed set of values, and no label has a domain, a host or an address. Every
// series is there from the start, with the value 0. All histograms have the buckets of
// [dnssec.LatencyBounds].
//
//	name                                          labels
//	mxseal_build_info                             version, goversion
//	mxseal_plans_total                            result, cache
//	mxseal_plan_duration_seconds                  -
//	mxseal_plan_hosts_total                       level, by
//	mxseal_plans_cached                           -
//	mxseal_events_total                           kind
//	mxseal_dns_queries_total                      outcome
//	mxseal_dns_duration_seconds                   outcome
//	mxseal_mtasts_policies                        mode
//	mxseal_mtasts_fetches_total                   result
//	mxseal_mtasts_fetch_duration_seconds          result
//	mxseal_mtasts_oldest_refresh_failure_seconds  -
//	mxseal_store_errors_total                     op
//	mxseal_store_duration_seconds                 op
//	mxseal_sessions_total                         result, policy
//	mxseal_deliveries_total                       outcome, level
//	mxseal_cleartext_total                        reason
//	mxseal_tlsrpt_recorded_total                  source
//	mxseal_tlsrpt_dropped_total                   -
//	mxseal_tlsrpt_datagrams_total                 result
//	mxseal_tlsrpt_reports_total                   scheme, result
//	mxseal_socketmap_requests_total               map, answer
//	mxseal_socketmap_duration_seconds             map
//	mxseal_socketmap_connections                  -
//	mxseal_socketmap_inexact_total                reason
//
// The values of the labels:
//
//   - result of plans: ok is a plan, even one whose hosts are all refused; temporary and permanent
//     are errors. cache is hit if memory had the plan, which is always ok, and miss otherwise.
//   - level is that of package policy: refused, opportunistic, encrypted, authenticated. by is
//     dane, mta-sts, both, operator if the operator alone decided, or none.
//   - kind is that of policy.Event, or "mta-sts-" and that of mtasts.Event.
//   - outcome of DNS is a field of dnssec.Stats: secure, insecure, bogus, failed, busy, canceled,
//     and cached, which has no duration.
//   - result of fetches is a field of mtasts.FetchStats, with ok for Changed: ok, unchanged, dns,
//     connect, tls, http, invalid, timeout.
//   - op is a method of mtasts.Store: get, put, delete, lease.
//   - result of sessions is ok or the tlsrpt.ResultType of the first failure, one of another name
//     being validation-failure. policy is the tlsrpt.PolicyType. A session is counted once for each
//     policy that it had to meet, as in reports.
//   - outcome of deliveries is sent, deferred or bounced; its unit is a recipient. level is the one
//     that the session met, and none for what was not sent. reason of cleartext is not-offered or
//     handshake-failed, and its unit is a recipient too.
//   - source is own or postfix. result of datagrams is ok, malformed, version or dropped.
//     scheme of reports is mailto or https, and result is sent or failed, for each attempt at an
//     endpoint.
//   - answer is that of postfix.Reply.Level: dane-only, dane, secure, encrypt, fingerprint, notfound,
//     temp; or that of a map for single hosts: dane, verify, dane-verify, encrypt, refuse, notfound,
//     temp, perm; or that of a transport map: relay, notfound, temp. reason of inexact is
//     postfix.Reason. map is one of Config.Maps. A value that is not known is counted as other.
//
// # Dashboard and alerts
//
// The file dashboard.json is a dashboard for Grafana, and alerts.yml has alert rules for Prometheus.
package metrics
