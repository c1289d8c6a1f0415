// Package pipelining sends the commands of a mail transaction, one by one or in groups
// (PIPELINING, RFC 2920), and makes sure that each reply belongs to its command.
// Package delivery decides what a reply means.
package pipelining
