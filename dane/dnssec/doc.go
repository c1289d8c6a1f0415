// Package dnssec is a validating stub resolver.
package dnssec
