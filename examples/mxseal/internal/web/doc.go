// Package web is the HTTP server of "mxseal serve": a page for people, an explanation of each domain as text,
// and the metrics for monitors.
//
// guard.go decides which requests are answered, server.go has the paths, list.go shows long lists page by page,
// and the other files have one page each. No request changes anything, except that a domain may be looked up.
// The pages have no scripts and load nothing from elsewhere.
package web
