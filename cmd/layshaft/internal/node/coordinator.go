package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/layshaft/layshaft/coordinator"
	"github.com/layshaft/layshaft/coordinator/dashboard"
	"github.com/layshaft/layshaft/coordinator/datadir"
	"github.com/layshaft/layshaft/coordinator/httpapi"
	"github.com/layshaft/layshaft/coordinator/jobserver"
	"github.com/layshaft/layshaft/coordinator/recorder"
	"github.com/layshaft/layshaft/coordinator/statsd"
	"github.com/layshaft/layshaft/coordinator/taskserver"
	"github.com/layshaft/layshaft/internal/gossip"
	"github.com/layshaft/layshaft/internal/outbox"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/security"
)

// CoordinatorConfig configures a coordinator process. Dir is required, and the required fields of
// Common.
type CoordinatorConfig struct {
	Common
	// Dir is the directory of the coordinator's data.
	Dir string
	// Data configures Dir. Its Log is set from Common.
	Data datadir.Options
	// Policy configures scheduling.
	Policy coordinator.Policy
	// KeepCode is how long an unused program is kept after its last use. Zero means a day.
	KeepCode time.Duration
	// KeepFailed is how long the inputs of failed attempts stay after the end of their job. Zero
	// means not at all.
	KeepFailed time.Duration
	// ClientLease is how long the client of an attached job may be away before the job ends. Zero
	// means 1 minute, negative means no limit.
	ClientLease time.Duration
	// MaxCode is the largest program in bytes. Zero means 2 GiB.
	MaxCode int64
	// Tasks configures the task queue. The caller sets Memory; Dir is set to a directory below
	// the coordinator's.
	Tasks taskserver.Config
	// Audit receives the audit log: every action and refusal, with its user. Nil means Log of
	// Common.
	Audit *slog.Logger
	// Peers are the addresses of all coordinators of a group, with its own. Empty means a
	// single coordinator.
	Peers []string
	// ElectionTimeout is the time without a message of the leader after which the other
	// coordinators elect another one. Zero means 500 ms.
	ElectionTimeout time.Duration
	// Statsd is the address of a statsd server for metrics; empty means none. StatsdEvery is the
	// interval, and StatsdPrefix begins the names. See package statsd.
	Statsd       string
	StatsdEvery  time.Duration
	StatsdPrefix string
	// BackupTo is the directory for scheduled backups; empty means none. BackupEvery is their
	// interval, and BackupKeep how many are kept. See datadir.Schedule.
	BackupTo    string
	BackupEvery time.Duration
	BackupKeep  int
	// ReadOnly means that pages show commands in place of buttons.
	ReadOnly bool
	// Outboxes are the databases whose outboxes are forwarded; see package outbox.
	Outboxes []string
	// Gearman is the address for Gearman clients and workers; empty means none.
	Gearman string
	// GearmanHTTP is the address for jobs over HTTP; empty means none.
	GearmanHTTP string
	// GearmanOptions configures the Gearman protocol. Its TLS is set from Common, with client
	// certificates.
	GearmanOptions taskserver.GearmanOptions
}

// RunCoordinator runs a coordinator until ctx ends; then it returns nil. It fails if an address
// is in use or unprotected, if the directory cannot be opened, or if the journal fails later.
func RunCoordinator(ctx context.Context, cfg CoordinatorConfig) error {
	if ready := cfg.Ready; ready != nil {
		var once sync.Once
		cfg.Ready = func(a Addresses) { once.Do(func() { ready(a) }) }
	}
	for {
		err := cfg.run(ctx)
		switch {
		case !errors.Is(err, errSetAside):
			return err
		case ctx.Err() != nil:
			return nil
		}
	}
}

// run opens all ports, runs the coordinator and closes the ports.
func (cfg CoordinatorConfig) run(ctx context.Context) (err error) {
	p, err := cfg.open(security.Coordinator)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	cfg.Data.Log = cfg.Log
	served, err := cfg.openPorts(p)
	if err != nil {
		return err
	}
	defer served.close()
	if len(cfg.Peers) > 0 {
		return cfg.runMember(ctx, p, served)
	}
	data, err := datadir.Open(cfg.Dir, cfg.Data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, data.Close()) }()
	g, err := cfg.coordinatorGossip(p, data.Cluster)
	if err != nil {
		return err
	}
	err = cfg.coordinate(ctx, p, served, data, nil, &tenure{
		run:   []func(context.Context) error{g.Run, limitMemory, p.watch},
		ready: func(within context.Context) error { return cfg.ready(within, p, g) },
	})
	cfg.Log.Info("ended")
	return err
}

// served are the listeners of the servers. All but grpc may be nil.
type served struct{ grpc, http, gearman, gearmanHTTP net.Listener }

// close closes the listeners that no server has.
func (s *served) close() {
	for _, l := range []net.Listener{s.gearman, s.gearmanHTTP} {
		if l != nil {
			_ = l.Close()
		}
	}
}

// openPorts opens the ports of Gearman beside the ports of p.
func (c *CoordinatorConfig) openPorts(p *ports) (s *served, err error) {
	s = &served{grpc: p.grpc, http: p.http}
	if s.gearman, err = c.gearman(p, "gearman", c.Gearman, gearmanBusy); err == nil {
		s.gearmanHTTP, err = c.gearman(p, "gearman-http", c.GearmanHTTP, httpBusy)
	}
	if err != nil {
		s.close()
	}
	return s, err
}

// coordinatorGossip returns the gossip of a coordinator.
func (c *CoordinatorConfig) coordinatorGossip(p *ports, cluster string) (*gossip.Gossip, error) {
	return c.gossip(gossip.Member{Name: gossip.FreshName("coordinator"), Role: string(security.Coordinator), ID: cluster,
		Address: p.advertise, HTTP: p.httpAddress()}, nil)
}

// tenure is a time for which this process coordinates.
type tenure struct {
	// run runs beside the servers.
	run []func(context.Context) error
	// ready is called when the coordinator has its state.
	ready func(context.Context) error
	// members are the coordinators of the cluster; nil for a single coordinator.
	members *members
	// verify returns an error unless this one leads now; nil for a single coordinator.
	verify func() error
}

// coordinate runs the servers until ctx ends, with the state in data and replica; replica is nil
// for a single coordinator. The servers close their listeners.
func (c *CoordinatorConfig) coordinate(ctx context.Context, p *ports, l *served, data *datadir.Data, replica taskserver.Replica, during *tenure) (err error) {
	runs := recorder.New(data.Files, c.Log)
	coord, err := coordinator.New(coordinator.Config{Journal: data.Journal, Recorder: runs, Succeeds: replica != nil, KeepFailed: c.KeepFailed, Log: c.Log, Policy: c.Policy})
	if err != nil {
		return err
	}
	tasks, err := c.tasks(data, coord, replica)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tasks.Close()) }()
	var group jobserver.Members
	coordinators, metrics := func() report.Coordinators { return report.Coordinators{} }, []prometheus.Collector{}
	if m := during.members; m != nil {
		group, coordinators, metrics = m, m.last, append(metrics, m)
	}
	server, err := jobserver.New(jobserver.Config{
		Coordinator: coord, Members: group, Verify: during.verify, Data: data, Credentials: p.serverCreds(), Authorize: p.authorize(),
		Identity: peerName, Certificate: peerCertificate, Tasks: tasks, History: runs.Bytes, Profiles: runs, Output: runs, Diagnose: c.Diagnose.Files,
		Dial: p.dial(security.Worker), KeepCode: c.KeepCode, ClientLease: c.ClientLease, MaxCode: c.MaxCode, Audit: c.Audit, Log: c.Log,
	})
	if err != nil {
		return err
	}
	outboxes := outbox.NewWatcher(c.Outboxes)
	backups := &datadir.Schedule{To: c.BackupTo, Every: c.BackupEvery, Keep: c.BackupKeep, Cluster: data.Cluster, Log: c.Log,
		Write: func(ctx context.Context, w io.Writer) error { return datadir.Backup(ctx, coord, data, tasks, w) }}
	board, err := dashboard.New(dashboard.Config{Coordinator: coord, Server: server, Tasks: tasks, Cluster: data.Cluster, Version: c.Version,
		Syncs: data.Journal.Syncs, History: runs.Open, Profile: runs.Profile, Outboxes: outboxes.States, Backups: backups.State, Disk: func() string { return diskNotice(data) }, Coordinators: coordinators, Notice: p.notice, Caller: p.caller, Hosts: c.hosts(p), ReadOnly: c.ReadOnly, Log: c.Log})
	if err != nil {
		return err
	}

	family, within := errgroup.WithContext(ctx)
	var ready atomic.Bool
	// The coordinator ends last, because RPCs of the server wait for it.
	deciding, stopDeciding := context.WithCancel(context.WithoutCancel(ctx))
	decided := make(chan error, 1)
	go func() { decided <- coord.Run(deciding) }()
	family.Go(func() error { return server.Run(within, l.grpc) })
	family.Go(func() error { return tasks.Run(within) })
	family.Go(func() error { runs.Run(within); return nil })
	if l.gearman != nil {
		family.Go(func() error { return tasks.ServeGearman(within, l.gearman, c.GearmanOptions) })
	}
	if l.gearmanHTTP != nil {
		family.Go(func() error { return tasks.ServeGearmanHTTP(within, l.gearmanHTTP, c.GearmanOptions) })
	}
	for _, database := range c.Outboxes {
		family.Go(func() error {
			return outbox.Forward(within, outbox.Config{Database: database, Submit: tasks.SubmitTasks, Log: c.Log})
		})
	}
	for _, run := range during.run {
		family.Go(func() error { return run(within) })
	}
	if c.Diagnose != nil {
		c.Diagnose.SetMetrics((&page{metrics: append(metrics, board), tls: p.tls}).text)
	}
	if l.http != nil {
		if len(c.Outboxes) > 0 {
			family.Go(func() error { outboxes.Run(within); return nil })
		}
		shown := &page{ready: ready.Load, leads: func() bool { return true }, metrics: append(metrics, board), shown: board.Handler(),
			api: httpapi.New(httpapi.Config{Tasks: tasks, Caller: p.caller, Authorize: server.Authorize})}
		family.Go(func() error { return shown.serve(within, l.http, p.tls, c.Log) })
	}
	family.Go(func() error {
		if err := coord.Ready(within); err != nil {
			return nil // the coordinator's own error says why
		}
		ready.Store(true)
		if c.BackupTo != "" {
			family.Go(func() error { return backups.Run(within) })
		}
		if l.http != nil {
			family.Go(func() error { board.Run(within); return nil })
		}
		if c.Statsd != "" {
			family.Go(func() error {
				statsd.Push(within, statsd.Config{Address: c.Statsd, Every: c.StatsdEvery, Prefix: c.StatsdPrefix, Metrics: append(metrics, board), Jobs: coord.Jobs, Job: coord.Status, Log: c.Log})
				return nil
			})
		}
		return during.ready(within)
	})
	err = family.Wait()
	stopDeciding()
	if failed := <-decided; !errors.Is(failed, context.Canceled) {
		err = failed // it ended the server
	}
	return err
}

// lowDisk is the free space, beyond the reserve, below which the pages warn.
const lowDisk = 1 << 30

// diskNotice returns a sentence if the disk of the journal is nearly full, or "".
func diskNotice(data *datadir.Data) string {
	disk, ok := data.Journal.(interface{ CheckSpace(n int64) error })
	switch {
	case !ok:
		return ""
	case disk.CheckSpace(0) != nil:
		return "the disk of the coordinator is full, so new jobs and tasks are refused: make room, or give it a larger one"
	case disk.CheckSpace(lowDisk) != nil:
		return "the disk of the coordinator has less than 1 GiB left before it refuses new jobs and tasks"
	}
	return ""
}

// hosts returns the host names of all coordinators.
func (c *CoordinatorConfig) hosts(p *ports) (names []string) {
	for _, address := range append([]string{p.advertise}, c.Peers...) {
		if host, _, err := net.SplitHostPort(address); err == nil {
			names = append(names, host)
		}
	}
	return names
}

// peerCertificate returns the identity in the caller's certificate, or "".
func peerCertificate(ctx context.Context) string {
	if id := security.PeerIdentity(ctx); id.Role != "" {
		return id.String()
	}
	return ""
}

func peerName(ctx context.Context) string { return security.PeerIdentity(ctx).String() }

// tasks opens the task queue of the coordinator.
func (c *CoordinatorConfig) tasks(data *datadir.Data, coord *coordinator.Coordinator, replica taskserver.Replica) (*taskserver.Server, error) {
	t := c.Tasks
	t.Coordinator, t.Replica = coord, replica
	t.Dir, t.Cluster, t.Identity, t.Log = data.TasksDir(), data.Cluster, peerName, c.Log
	t.Audit = c.Audit
	t.NoSync, t.Reserve, t.AcceptLoss = c.Data.NoSync, c.Data.Reserve, c.Data.AcceptLoss
	return taskserver.Open(t)
}

// gearman opens a port for Gearman, if one is configured. The server of the port closes it. busy
// is its answer without file descriptors.
func (c *CoordinatorConfig) gearman(p *ports, flag, address, busy string) (net.Listener, error) {
	if address == "" {
		return nil, nil
	}
	if err := security.CheckListen(flag, address, p.tls != nil, c.Insecure, "-tls-ca, -tls-cert and -tls-key (layshaft cert makes them)", c.Log); err != nil {
		return nil, err
	}
	if p.tls != nil {
		c.GearmanOptions.TLS = p.tls.Peers(security.Client, security.Worker)
		c.GearmanOptions.MayWork = func(s tls.ConnectionState) bool {
			id, err := security.CertificateIdentity(s.PeerCertificates[0]) // Peers has requested the certificate
			return err == nil && id.Role == security.Worker
		}
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("-%s: %w", flag, err)
	}
	return c.answerWhenFull(p, l, busy), nil
}
