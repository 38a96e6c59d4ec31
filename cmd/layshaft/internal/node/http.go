package node

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	webpage "github.com/layshaft/layshaft/internal/page"
	"github.com/layshaft/layshaft/internal/security"
)

// page is the HTTP server of a process. /healthz, /readyz and /readyz/leader are public; with TLS,
// all other paths need a certificate.
type page struct {
	// ready reports whether the process does its work. A coordinator that replays its journal is
	// alive, but not ready.
	ready func() bool
	// leads reports whether the process is the coordinator that decides, for /readyz/leader; nil
	// means that there is no such path.
	leads func() bool
	// shown serves all other paths.
	shown http.Handler
	// api serves the paths below /api/v1/; nil means none.
	api http.Handler
	// metrics are served at /metrics, with the metrics of Go and of the process.
	metrics []prometheus.Collector
	// tls is nil without certificates.
	tls *security.TLS
}

// registry returns the metrics of the process.
func (p *page) registry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	reg.MustRegister(p.metrics...)
	if p.tls != nil {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "layshaft_certificate_expiry_timestamp_seconds",
			Help: "End of the validity of this process's certificate, or of its CA if that is earlier, in seconds since 1970."},
			func() float64 { return float64(p.tls.ValidUntil().Unix()) }))
	}
	return reg
}

// text returns the metrics as a scraper gets them.
func (p *page) text() []byte {
	to := &textWriter{header: http.Header{}}
	promhttp.HandlerFor(p.registry(), promhttp.HandlerOpts{}).ServeHTTP(to, &http.Request{Method: http.MethodGet, Header: http.Header{}})
	return to.Bytes()
}

// textWriter keeps the body of an answer.
type textWriter struct {
	bytes.Buffer
	header http.Header
}

func (w *textWriter) Header() http.Header { return w.header }
func (w *textWriter) WriteHeader(int)     {}

func (p *page) handler(secured bool) http.Handler {
	reg := p.registry()
	shown := http.NewServeMux()
	shown.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	shown.Handle("/", p.shown)
	if p.api != nil {
		shown.Handle("/api/v1/", p.api)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	answer := func(ok func() bool, not string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if !ok() {
				http.Error(w, not, http.StatusServiceUnavailable)
				return
			}
			_, _ = w.Write([]byte("ok\n"))
		}
	}
	mux.HandleFunc("GET /readyz", answer(p.ready, "not ready"))
	if p.leads != nil {
		mux.HandleFunc("GET /readyz/leader", answer(func() bool { return p.ready() && p.leads() }, "not the leader"))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if secured && security.RequestIdentity(r).Role == "" {
			http.Error(w, "show a certificate of the cluster", http.StatusUnauthorized)
			return
		}
		shown.ServeHTTP(w, r)
	})
	return webpage.Guard(mux)
}

// serve serves the page on l until ctx ends, and closes l.
func (p *page) serve(ctx context.Context, l net.Listener, t *security.TLS, log *slog.Logger) error {
	if p.tls = t; t != nil {
		l = tls.NewListener(l, t.Browser())
	}
	s := &http.Server{Handler: p.handler(t != nil), ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute, IdleTimeout: time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		_ = s.Close()
	})
	err := s.Serve(l)
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
