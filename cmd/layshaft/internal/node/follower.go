package node

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/layshaft/layshaft/coordinator/jobserver"
	"github.com/layshaft/layshaft/coordinator/replica"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/security"
)

// standby returns the server of gRPC connections that cannot be forwarded.
func (c *CoordinatorConfig) standby(p *ports, m *members) *jobserver.Standby {
	return jobserver.NewStandby(jobserver.Config{Members: m, Credentials: p.serverCreds(), Authorize: p.authorize(), Identity: peerName, Audit: c.Audit, Log: c.Log})
}

// followerPage is the HTTP server of a coordinator that does not lead. It answers health checks and
// /metrics itself. Without certificates it forwards other requests to the leader; with them it
// redirects the caller, since the leader must see the caller's certificate.
func (c *CoordinatorConfig) followerPage(p *ports, d *doors, r *replica.Replica, m *members) *page {
	f := &follower{p: p, d: d, r: r, m: m}
	x := &page{ready: func() bool { return d.leader() != "" }, leads: func() bool { return false }, metrics: []prometheus.Collector{m}, shown: http.HandlerFunc(f.redirect)}
	if p.tls == nil {
		x.shown = f.proxy(c.Log)
	}
	return x
}

type follower struct {
	p *ports
	d *doors
	r *replica.Replica
	m *members
}

// unavailable answers while no leader can be reached.
func (f *follower) unavailable(w http.ResponseWriter, r *http.Request, err error) {
	text := fmt.Sprintf("the leader cannot be reached: %v", err)
	if f.r.Leader() == "" {
		if all, err := f.m.List(r.Context()); err == nil {
			text = all.Stale
		}
	}
	w.Header().Set("Retry-After", "1")
	http.Error(w, text, http.StatusServiceUnavailable)
}

// redirect sends the caller to the pages of the leader.
func (f *follower) redirect(w http.ResponseWriter, r *http.Request) {
	at, err := f.r.LeaderHTTP(r.Context())
	switch {
	case err != nil:
		f.unavailable(w, r, err)
	case at == "":
		http.Error(w, fmt.Sprintf("the leader, %s, has no pages: start it with -http", f.r.Leader()), http.StatusServiceUnavailable)
	default:
		http.Redirect(w, r, "https://"+at+r.URL.RequestURI(), http.StatusTemporaryRedirect)
	}
}

// proxy forwards requests to the leader, through the port of its members.
func (f *follower) proxy(log *slog.Logger) http.Handler {
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "http", "leader", r.In.Host
			r.SetXForwarded()
		},
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, leaderWait)
			defer cancel()
			return f.d.dialLeader(ctx, f.d.byKind[forwardHTTP])
		}},
		FlushInterval: -1,
		ErrorLog:      slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ErrorHandler:  f.unavailable,
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.p.sameUser && (strings.HasPrefix(r.URL.Path, "/api/v1/") || r.Method != http.MethodGet) {
			if err := security.AuthorizeSameUser(f.p.caller(r), r.URL.Path); err != nil {
				http.Error(w, err.Error(), http.StatusForbidden)
				return
			}
		}
		clear(w.Header()) // the leader sets its own
		forward.ServeHTTP(w, r)
	})
}

// peersEvery is the pause between two checks of the addresses in -peers.
const peersEvery = time.Minute

// watchPeers logs which addresses of -peers do not lead to coordinators of this cluster.
func (c *CoordinatorConfig) watchPeers(ctx context.Context, r *replica.Replica) error {
	tick := time.NewTicker(peersEvery)
	defer tick.Stop()
	var logged []string
	for {
		if r.Cluster() != "" {
			wrong := r.CheckPeers(ctx)
			for _, text := range wrong {
				if !slices.Contains(logged, text) && ctx.Err() == nil {
					c.Log.Warn("-peers is wrong", "why", text)
				}
			}
			logged = wrong
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// removedEvery is the pause between two looks whether this member was removed.
const removedEvery = 2 * time.Second

// watchRemoval logs that this member was removed from the group. It forwards to the leader until
// its process ends.
func (c *CoordinatorConfig) watchRemoval(ctx context.Context, r *replica.Replica) error {
	tick := time.NewTicker(removedEvery)
	defer tick.Stop()
	for was := false; ; {
		leader := r.Removed(ctx)
		if leader != "" && !was && ctx.Err() == nil {
			c.Log.Warn("this coordinator was removed from the group and only forwards to the leader; end its process", "leader", leader,
				"again", "to add it again, remove its directory, start it and run layshaft coordinator members add")
		}
		was = leader != ""
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// warnOfCount logs that a number of coordinators is unwise.
func (c *CoordinatorConfig) warnOfCount() {
	if text := report.CountWarning(len(c.Peers)); text != "" && len(c.Peers) > 1 {
		c.Log.Warn("the number of -peers is unwise", "peers", len(c.Peers), "why", text)
	}
}
