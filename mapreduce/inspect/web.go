package inspect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/layshaft/layshaft/internal/inspection"
	"github.com/layshaft/layshaft/internal/page"
)

// webRefresh is how often a browser asks for the page of a running job again, in seconds.
const webRefresh = "2"

func (tools) Serve(ctx context.Context, l net.Listener, write inspection.Page) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		var b bytes.Buffer
		changes, err := write(&b)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		// the page itself has a policy for its content
		for name, value := range map[string]string{"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
			"X-Frame-Options": "DENY", "Referrer-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin"} {
			w.Header().Set(name, value)
		}
		if changes {
			w.Header().Set("Refresh", webRefresh)
		}
		_, _ = w.Write(b.Bytes()) // the reader has gone
	})
	s := &http.Server{Handler: page.GuardHost(mux), ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	err := s.Serve(l)
	_ = s.Close() // Serve returns before the other Close has closed the connections
	if !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("web %s: %w", l.Addr(), err)
	}
	return nil
}
