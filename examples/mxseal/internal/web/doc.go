// Package web is the HTTP server of "mxseal serve": a page for people, an explanation of each domain as text,
// and the numbers for monitors.
//
// guard.go says whom it answers, server.go what is where, list.go how long lists are shown part by part, and
// the other files what is shown. Nothing that is asked for changes anything, but a domain that is asked for
// is looked up. There are no scripts and nothing from elsewhere.
package web
