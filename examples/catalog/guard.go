package main

import (
	"net"
	"net/http"
	"net/url"
)

// guard refuses requests that reach this machine under a foreign name: a page of another site could
// point its own name here, and read the answers.
func guard(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at, _ := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
		host := (&url.URL{Host: r.Host}).Hostname()
		if at != nil && at.IP.IsLoopback() && host != "localhost" && net.ParseIP(host) == nil {
			http.Error(w, "open the page by its address", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}
