// Package pipelining sends the commands of a mail transaction, one by one or in groups
// (PIPELINING, RFC 2920), and makes sure that each reply belongs to its command. What a
// reply means is the business of package delivery.
package pipelining
