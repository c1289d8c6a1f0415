// Package dashboard checks the dashboard of policy/metrics with the types of Grafana. It is a module of its own, because
// they are no dependency of anything else.
package dashboard
