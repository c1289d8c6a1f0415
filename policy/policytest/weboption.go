package policytest

import "net/http"

// Respond sets the handler for requests to a policy host or another HTTPS host.
func Respond(handler func(http.ResponseWriter, *http.Request)) Option {
	return func(b *Behavior) { b.http = handler }
}

// Status makes a policy host answer with this status code and a valid policy.
func Status(code int) Option {
	return Respond(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(code)
		w.Write([]byte("version: STSv1\r\nmode: none\r\nmax_age: 86400\r\n"))
	})
}

// Redirect makes a policy host redirect requests to location.
func Redirect(location string) Option {
	return Respond(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", location)
		w.WriteHeader(http.StatusFound)
	})
}

// Body makes a policy host answer with text of this media type, such as
// "text/plain".
func Body(mediaType, text string) Option {
	return Respond(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", mediaType)
		w.Write([]byte(text))
	})
}

// HTTP2Only makes an HTTPS host reject clients that do not offer HTTP/2 in the
// TLS handshake.
func HTTP2Only(b *Behavior) { b.http2 = true }
