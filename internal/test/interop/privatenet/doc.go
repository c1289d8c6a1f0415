// Package privatenet uses real programs in the private internet of package
// policytest: a Postfix as one of its mail hosts, and a Postfix that sends to its
// mail hosts with DANE, by the AD bit of its resolver or of a real unbound.
package privatenet
