// Package parking keeps idle sessions for the next message, and bounds the sessions of a
// pool: in all, with each host and for each domain, in use and idle ones together. What
// a session is, and whether it may be used again, is the caller's business.
package parking
