// Package handover hands a session over to an SMTP client that wants to begin at the
// greeting. It follows what the client and the server say, so that it knows which
// command an error of the client is about, and what the table of package conversation
// says of it.
package handover
