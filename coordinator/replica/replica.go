// Package replica keeps the state of a coordinator on several machines, so that any of them can be
// destroyed. It contains the consensus algorithm Raft (Ongaro and Ousterhout, "In Search of an
// Understandable Consensus Algorithm", 2014), from hashicorp/raft, and two databases per member.
//
// One member leads. It alone changes the databases: its Tenure proposes batches of changes. A batch
// takes effect on all members when a majority has it in its log, synced. The log is the only
// write-ahead log; Badger behind it is not synced for each batch.
//
// What a leader decides, and what it remembers beside the databases, is not replicated: leases,
// sessions, running attempts. A new leader begins like a coordinator that was restarted with the
// same directory.
//
// The directory contains:
//
//	member     ID of this member; a new directory has a new one
//	log/       the log of raft
//	snapshot   index of the newest snapshot; see snapshots
//	jobs/      the database Jobs
//	tasks/     the database Tasks
package replica

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/layshaft/layshaft/internal/state"
	"github.com/layshaft/layshaft/internal/wire"
)

var (
	// ErrNotLeading means that another coordinator leads, or none. Clients repeat the call there.
	ErrNotLeading = fmt.Errorf("%w: this coordinator does not lead", wire.ErrNoLeader)
	// ErrPeers means that Config.Peers and the coordinators at these addresses do not fit.
	ErrPeers = errors.New("-peers is wrong")
	// ErrStopped means that the replica was closed.
	ErrStopped = errors.New("replica closed")
)

// Config configures a member. Dir, Address, Peers, Listener and Dial are required.
type Config struct {
	// Dir is the directory; Open creates it.
	Dir string
	// Disk, if set, takes the place of the files in Dir.
	Disk Disk
	// Address is HOST:PORT of this member as seen by the others.
	Address string
	// Peers are the addresses of the first members, also that of this one.
	Peers []string
	// Listener accepts the connections of other members. The replica closes it.
	Listener net.Listener
	// Dial connects to the Listener of the member at an address.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// HasState means that this member has the state of a single coordinator, which the group begins
	// with. At most one member may have one.
	HasState bool
	// Single is the name of the cluster of that state, or "".
	Single string
	// HTTP is the address of this member's pages, or "".
	HTTP string
	// Aside is the path of a former directory of this member whose files were damaged, or "". The
	// member then waits for the group that it belonged to, and forms no other.
	Aside string
	// Timeout is the time without a message of the leader after which the others elect another one.
	// Zero means 500 ms.
	Timeout time.Duration
	// SnapshotEntries is the number of applied groups of entries after which a snapshot is due.
	// Zero means 16,384. After a snapshot, the log keeps Trailing entries for members that are
	// behind. Zero means 1,024.
	SnapshotEntries, Trailing int
	// Idle is the pause after which the leader tells the others what has been decided while nothing
	// new happens. Zero means 5 ms.
	Idle time.Duration
	// Reserve is the number of bytes to keep free on the disk; see state.Options.
	Reserve int64
	// Log receives messages for the operator; nil means none.
	Log *slog.Logger
}

// Replica is a member of a group.
type Replica struct {
	cfg     Config
	log     *slog.Logger
	id      string
	d       *databases
	snaps   *snapshots
	wal     *raftLog
	streams *streams
	raft    *raft.Raft
	// ended is closed when Run ends.
	ended chan struct{}
	// hasState means that the log or the snapshot had something when Run began. It is set before
	// the listener is used.
	hasState bool
	// joins is the name of the cluster that an empty member has found at the peers, or nil.
	joins atomic.Pointer[string]
	// grownBytes and grownEntries are what was applied since the last snapshot.
	grownBytes, grownEntries atomic.Int64
	snapshotDue              chan struct{} // capacity 1
	wg                       sync.WaitGroup

	// mu guards the fields below.
	mu      sync.Mutex
	tenure  *Tenure
	changes int           // changes of leadership
	changed chan struct{} // closed and replaced at each change
	failure error
	ending  bool           // nothing is asked any longer
	asked   sync.WaitGroup // questions that raft has not answered
}

// ask calls question, which waits for an answer of raft. Raft answers nothing after its end, so its
// end waits for answers, and later questions are refused.
func (r *Replica) ask(question func() error) error {
	if !r.mayAsk() {
		return raft.ErrRaftShutdown
	}
	defer r.asked.Done()
	return question()
}

// mayAsk registers a question, or returns false. The caller calls r.asked.Done after the answer.
func (r *Replica) mayAsk() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ending {
		r.asked.Add(1)
	}
	return !r.ending
}

// Open opens the directory of a member. The member takes part after Run has begun. The error wraps
// ErrDamaged if files are damaged.
func Open(cfg Config) (_ *Replica, err error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 500 * time.Millisecond
	}
	cfg.SnapshotEntries = cmp.Or(cfg.SnapshotEntries, snapshotEntries)
	cfg.Trailing = cmp.Or(cfg.Trailing, minTrailing)
	cfg.Idle = cmp.Or(cfg.Idle, 5*time.Millisecond)
	if !slices.Contains(cfg.Peers, cfg.Address) {
		return nil, fmt.Errorf("%w: %s lacks the address of this coordinator, %s; add it, or give -advertise the host that -peers names", ErrPeers, strings.Join(cfg.Peers, ","), cfg.Address)
	}
	r := &Replica{cfg: cfg, log: cfg.Log, ended: make(chan struct{}), snapshotDue: make(chan struct{}, 1), changed: make(chan struct{})}
	disk := cfg.Disk
	if disk == nil {
		if err := state.MakeDir(cfg.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("replica: %w", err)
		}
		disk = directory(cfg.Dir)
	}
	if r.id, err = memberID(disk); err != nil {
		return nil, fmt.Errorf("replica %s: %w", cfg.Dir, err)
	}
	known := r.id != ""
	if r.d, err = openDatabases(disk, state.Options{Reserve: cfg.Reserve, Log: cfg.Log}); err != nil {
		return nil, fmt.Errorf("replica %s: %w", cfg.Dir, err)
	}
	r.d.grown, r.d.failed, r.d.ended = r.grown, r.fail, r.ended
	r.snaps = newSnapshots(disk, r.d)
	var log *checkedLog
	if err = r.snaps.finish(); err == nil {
		log, err = r.openLog(disk, known)
	}
	if err == nil && !known {
		if r.id, err = newID(disk, log, r.snaps); err != nil {
			err = errors.Join(err, log.Close())
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("replica %s: %w", cfg.Dir, err), r.d.close())
	}
	r.wal = newLog(log)
	r.wal.failed, r.d.awaitLog = r.fail, r.wal.await
	r.wal.snapshot, r.snaps.installed = r.snaps.newest.Load, r.wal.dropBefore
	r.streams = &streams{self: r.id, listener: cfg.Listener, dial: cfg.Dial, identify: r.identify, incoming: make(chan net.Conn), closed: make(chan struct{})}
	return r, nil
}

// openLog opens and verifies the log. known means that the member is not new.
func (r *Replica) openLog(disk Disk, known bool) (*checkedLog, error) {
	if has, err := disk.HasLog(); err == nil && known && !has {
		return nil, fmt.Errorf("the log is missing: %w", ErrDamaged)
	}
	snapshot, err := r.snaps.load()
	if err != nil {
		return nil, err
	}
	l, err := disk.OpenLog(r.hclog("log"))
	if err != nil {
		return nil, err
	}
	c, err := openChecked(disk, l, snapshot)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	c.damaged = func(err error) { r.fail(fmt.Errorf("replica %s: log: %w", r.cfg.Dir, err)) }
	return c, nil
}

// memberID returns the ID in the file member, or "" if there is none.
func memberID(disk Disk) (string, error) {
	b, err := disk.ReadFile("member")
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(b)), err
}

// newID makes the ID of a new member.
func newID(disk Disk, log *checkedLog, snaps *snapshots) (string, error) {
	if has, err := raft.HasExistingState(log, log, snaps); err != nil || has {
		return "", errors.Join(err, fmt.Errorf("the file member is missing: %w", ErrDamaged))
	}
	id := strings.ToLower(rand.Text()[:12])
	return id, disk.WriteFile("member", []byte(id+"\n"))
}

// ID returns the ID of this member.
func (r *Replica) ID() string { return r.id }

// Aside returns Config.Aside.
func (r *Replica) Aside() string { return r.cfg.Aside }

// hclog returns a logger for raft. Its lines are warnings and errors, as messages of this process.
func (r *Replica) hclog(name string) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Name: name, Level: hclog.Warn, DisableTime: true, Output: lineLog{r.log}})
}

// lineLog logs each line written to it.
type lineLog struct{ log *slog.Logger }

func (l lineLog) Write(b []byte) (int, error) {
	l.log.Debug("raft", "line", strings.TrimSpace(string(b)))
	return len(b), nil
}

// raftConfig returns the settings of raft.
func (r *Replica) raftConfig(notify chan<- bool) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(r.id)
	c.HeartbeatTimeout, c.ElectionTimeout = r.cfg.Timeout, r.cfg.Timeout
	c.LeaderLeaseTimeout = r.cfg.Timeout / 2
	c.CommitTimeout = r.cfg.Idle
	c.BatchApplyCh = true
	c.NoSnapshotRestoreOnStart = true
	c.ShutdownOnRemove = false
	// takeSnapshots decides when a snapshot is due.
	c.SnapshotInterval, c.SnapshotThreshold = 24*time.Hour, 1<<62
	c.TrailingLogs = uint64(r.cfg.Trailing)
	c.NotifyCh = notify
	c.Logger = r.hclog("raft")
	return c
}

// Run takes part in the group until ctx ends; then it returns nil. At the first start it forms the
// group, which takes until all peers have started. It returns an error if the databases or the
// listener fail. The caller closes the replica afterwards.
func (r *Replica) Run(ctx context.Context) error {
	var err error
	if r.hasState, err = raft.HasExistingState(r.wal, r.wal.disk, r.snaps); err != nil {
		return fmt.Errorf("replica: %w", err)
	}
	accepting := make(chan error, 1)
	go func() { accepting <- r.streams.run() }()
	defer func() {
		_ = r.streams.Close()
		<-accepting
	}()
	notify := make(chan bool, 16)
	var writing sync.WaitGroup
	writing.Go(r.wal.run)
	stopApply := make(chan struct{})
	writing.Go(func() { r.d.runApply(stopApply) })
	defer func() {
		r.wal.stop()
		close(stopApply)
		writing.Wait()
	}()
	transport := newTransport(raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{Stream: addressedStreams{r.streams, joinAddress(r.id, r.cfg.Address)},
		MaxPool: 4, Timeout: 10 * time.Second, Logger: r.hclog("transport")}), r.wal, r.snaps.newest.Load)
	defer transport.Close()
	config := r.raftConfig(notify)
	if !r.hasState {
		first, err := r.form(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if first != nil {
			if err := raft.BootstrapCluster(config, r.wal, r.wal.disk, r.snaps, transport, *first); err != nil {
				return fmt.Errorf("replica: %w", err)
			}
		}
	}
	run, err := newRaft(config, r.d, r.wal, r.snaps, transport)
	if err != nil {
		return fmt.Errorf("replica: %w", err)
	}
	r.wal.raft.Store(run)
	r.mu.Lock()
	r.raft = run
	r.mu.Unlock()
	observed := make(chan raft.Observation, 64)
	run.RegisterObserver(raft.NewObserver(observed, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.LeaderObservation, raft.RaftState:
			return true
		}
		return false
	}))
	watching, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	r.wg.Go(func() { r.watch(watching, notify, observed) })
	r.wg.Go(func() { r.takeSnapshots(watching) })
	if !r.hasState {
		r.wg.Go(func() { r.learnCluster(watching) })
	}
	select {
	case <-ctx.Done():
	case err = <-accepting:
		accepting <- nil
	case <-r.broken():
		err = r.failure
	}
	close(r.ended)
	r.mu.Lock()
	r.ending = true
	r.mu.Unlock()
	r.asked.Wait()
	stopped := run.Shutdown().Error()
	stopWatching()
	r.wg.Wait()
	r.endTenure()
	return errors.Join(err, stopped)
}

// newRaft starts raft, which panics when it cannot read its log.
func newRaft(config *raft.Config, d *databases, log *raftLog, snaps *snapshots, transport raft.Transport) (run *raft.Raft, err error) {
	defer recoverDamage(&err)()
	return raft.NewRaft(config, d, log, log.disk, snaps, transport)
}

// addressedStreams gives the stream layer the address of this member.
type addressedStreams struct {
	*streams
	address raft.ServerAddress
}

// Addr implements net.Listener.
func (a addressedStreams) Addr() net.Addr { return memberAddr(a.address) }

type memberAddr string

func (memberAddr) Network() string  { return "tcp" }
func (a memberAddr) String() string { return string(a) }

// Close closes the databases and the log. Call it after Run has returned.
func (r *Replica) Close() error {
	return errors.Join(r.streams.Close(), r.wal.Close(), r.d.close())
}

// fail ends Run with an error.
func (r *Replica) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failure == nil {
		r.failure = err
	}
	r.broadcast()
}

// broken returns a channel that is closed after fail.
func (r *Replica) broken() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		for {
			r.mu.Lock()
			failed, changed := r.failure != nil, r.changed
			r.mu.Unlock()
			if failed {
				close(done)
				return
			}
			select {
			case <-changed:
			case <-r.ended:
				return
			}
		}
	}()
	return done
}

// broadcast wakes all that wait for a change. The caller holds r.mu.
func (r *Replica) broadcast() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// watch follows the changes of leadership.
func (r *Replica) watch(ctx context.Context, notify <-chan bool, observed <-chan raft.Observation) {
	for {
		select {
		case <-notify:
			r.endTenure()
		case <-observed:
			r.mu.Lock()
			r.broadcast()
			r.mu.Unlock()
		case <-ctx.Done():
			return
		}
	}
}

// endTenure ends the tenure of this member, if it has one.
func (r *Replica) endTenure() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changes++
	if r.tenure != nil {
		close(r.tenure.lost)
		r.tenure = nil
	}
	r.broadcast()
}

// identify returns the identity of this member.
func (r *Replica) identify() identity {
	r.mu.Lock()
	run := r.raft
	r.mu.Unlock()
	who := identity{ID: r.id, HasState: r.cfg.HasState, HTTP: r.cfg.HTTP, Cluster: cmp.Or(r.Cluster(), r.cfg.Single), Aside: r.cfg.Aside, Full: r.isFull(roomToLead), Group: r.hasState}
	if found := r.joins.Load(); found != nil {
		who.Joins = *found
	}
	if run != nil {
		servers := run.GetConfiguration().Configuration().Servers
		who.Group = who.Group || len(servers) > 0
		who.Leader, who.Applied = r.Leader(), run.AppliedIndex()
		if run.State() == raft.Leader {
			for _, s := range servers {
				who.Members = append(who.Members, string(s.ID))
			}
		}
	}
	return who
}

// roomToLead is how many bytes above the reserve a member must have to be made the leader.
const roomToLead = 16 << 20

// isFull reports whether n more bytes would use the reserve of the disk.
func (r *Replica) isFull(n int64) bool { return errors.Is(r.d.db[Jobs].Check(n), state.ErrDiskFull) }

// formEvery is the pause between two tries to reach all peers.
const formEvery = 200 * time.Millisecond

// form waits until the group can begin. It returns the first configuration if this member is to
// begin with it, and nil if another one is, or if the peers have a group already.
func (r *Replica) form(ctx context.Context) (*raft.Configuration, error) {
	logged, last := time.Time{}, ""
	for {
		first, waiting, err := r.tryForm(ctx)
		if err != nil || waiting == "" {
			return first, err
		}
		if time.Since(logged) >= time.Minute || waiting != last {
			logged, last = time.Now(), waiting
			r.log.Info("waiting for the other coordinators of -peers", "peers", r.cfg.Peers, "missing", waiting)
		}
		select {
		case <-time.After(formEvery):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// learnCluster asks the peers for the name of their cluster until this member has it. A peer that
// has just started may not know it yet.
func (r *Replica) learnCluster(ctx context.Context) {
	tick := time.NewTicker(surveyWait)
	defer tick.Stop()
	for r.Cluster() == "" {
		for _, p := range r.cfg.Peers {
			if who, err := r.streams.ask(ctx, p); err == nil && p != r.cfg.Address && who.Group && who.Cluster != "" {
				r.joins.Store(&who.Cluster)
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// tryForm asks all peers once. waiting names peers that do not answer.
func (r *Replica) tryForm(ctx context.Context) (first *raft.Configuration, waiting string, err error) {
	own := r.identify()
	who := map[string]identity{r.cfg.Address: own}
	var missing []string
	for _, p := range r.cfg.Peers {
		other, err := r.streams.ask(ctx, p)
		if p == r.cfg.Address {
			if err == nil && other.ID != r.id {
				return nil, "", fmt.Errorf("replica: %w: %s of -peers is to be the address of this coordinator, and another one answers there; correct -peers, -listen or -advertise", ErrPeers, p)
			}
			continue // it may be unable to reach itself
		}
		if err != nil {
			missing = append(missing, fmt.Sprintf("%s (%v)", p, err))
			continue
		}
		if own.Cluster != "" && other.Cluster != "" && own.Cluster != other.Cluster {
			return nil, "", fmt.Errorf("replica: %w: %s of -peers belongs to the cluster %s, and this directory has the state of %s; correct -peers, or give one of them an empty directory", ErrPeers, p, other.Cluster, own.Cluster)
		}
		if other.Group {
			r.log.Info("the other coordinators have a group, and this one is not in it", "address", r.cfg.Address, "id", r.id, "peer", p, "cluster", other.Cluster,
				"next", "if a member was at this address, the leader replaces it; for a new address, run layshaft coordinator members add "+r.cfg.Address)
			r.joins.Store(&other.Cluster)
			return nil, "", nil
		}
		if other.Aside != "" {
			missing = append(missing, fmt.Sprintf("%s (its files were damaged, and it waits for its group)", p))
		}
		who[p] = other
	}
	if r.cfg.Aside != "" {
		missing = append(missing, "the group of this coordinator, whose files were damaged; if all coordinators of the group are lost, use "+r.cfg.Aside+" with layshaft coordinator recover")
	}
	if len(missing) > 0 {
		return nil, strings.Join(missing, ", "), nil
	}
	begins := slices.Min(r.cfg.Peers)
	for _, p := range r.cfg.Peers {
		if who[p].HasState && p != begins {
			if who[begins].HasState {
				return nil, "", fmt.Errorf("replica: %s and %s both have the state of a coordinator, and a group begins with one; give one of them an empty directory", begins, p)
			}
			begins = p
		}
	}
	if begins != r.cfg.Address {
		return nil, "", nil
	}
	c := &raft.Configuration{}
	for _, p := range r.cfg.Peers {
		c.Servers = append(c.Servers, raft.Server{ID: raft.ServerID(who[p].ID), Address: joinAddress(who[p].ID, p)})
	}
	return c, "", nil
}

const (
	// A snapshot is due after this much has been applied.
	snapshotBytes, snapshotEntries = 32 << 20, 16_384
	// After a snapshot, the log keeps entries for members that are behind: minTrailing, or
	// trailingBytes if these are fewer.
	minTrailing, trailingBytes = 1024, 16 << 20
	// followedBytes is how far the log grows for a member that gets a dump.
	followedBytes = 1 << 30
)

// grown notes n applied bytes.
func (r *Replica) grown(n int) {
	if r.grownBytes.Add(int64(n)) > snapshotBytes || r.grownEntries.Add(1) > int64(r.cfg.SnapshotEntries) {
		select {
		case r.snapshotDue <- struct{}{}:
		default:
		}
	}
}

// takeSnapshots keeps the log short.
func (r *Replica) takeSnapshots(ctx context.Context) {
	for {
		select {
		case <-r.snapshotDue:
		case <-ctx.Done():
			return
		}
		if r.grownBytes.Load() < followedBytes && r.snaps.followed() {
			continue // the next entry asks again
		}
		size, n := r.grownBytes.Swap(0), r.grownEntries.Swap(0)
		c := r.raft.ReloadableConfig()
		c.TrailingLogs = uint64(min(int64(r.cfg.Trailing), trailingBytes/(size/max(n, 1)+1)))
		if err := r.raft.ReloadConfig(c); err != nil {
			r.log.Warn("the log of decisions keeps all entries", "err", err)
		}
		if err := r.takeSnapshot(); err != nil && ctx.Err() == nil {
			r.log.Warn("the log of decisions keeps growing", "err", err)
		}
	}
}

// takeSnapshot takes a snapshot, if there is anything new.
func (r *Replica) takeSnapshot() error {
	err := r.raft.Snapshot().Error()
	r.snaps.finishOwn()
	if errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return nil
	}
	return err
}

// Leader returns the address of the leader, or "".
func (r *Replica) Leader() string {
	r.mu.Lock()
	run := r.raft
	r.mu.Unlock()
	// A candidate follows nobody. The library may still name a leader that ordered it to take over.
	if run == nil || run.State() == raft.Candidate {
		return ""
	}
	address, _ := run.LeaderWithID()
	_, host := splitAddress(address)
	return host
}

// Changed returns a channel that is closed at the next change of leadership.
func (r *Replica) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// DB returns a database for reading. Only a Tenure changes it.
func (r *Replica) DB(s Store) *state.DB { return r.d.db[s] }

// Tenure is the time for which this member leads. Methods may be called concurrently.
type Tenure struct {
	r    *Replica
	term uint64
	lost chan struct{}
}

// Lead blocks until this member leads and its databases have everything that was decided before. It
// returns ErrStopped after Run has ended, or the cause of ctx.
func (r *Replica) Lead(ctx context.Context) (*Tenure, error) {
	for {
		r.mu.Lock()
		run, changes, changed := r.raft, r.changes, r.changed
		r.mu.Unlock()
		if run != nil && run.State() == raft.Leader {
			term := run.CurrentTerm()
			if err := r.ask(func() error { return run.Barrier(0).Error() }); err == nil && run.CurrentTerm() == term && r.d.flush() == nil {
				if t := r.begin(term, changes); t != nil {
					return t, nil
				}
				continue
			}
		}
		select {
		case <-changed:
		case <-time.After(formEvery): // raft is not there yet
		case <-r.ended:
			return nil, ErrStopped
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// begin registers a tenure, unless leadership has changed.
func (r *Replica) begin(term uint64, changes int) *Tenure {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changes != changes || r.raft.State() != raft.Leader {
		return nil
	}
	r.tenure = &Tenure{r: r, term: term, lost: make(chan struct{})}
	return r.tenure
}

// Lost returns a channel that is closed when the tenure has ended.
func (t *Tenure) Lost() <-chan struct{} { return t.lost }

// Term returns the number of the tenure; later tenures have greater ones, on all members.
func (t *Tenure) Term() uint64 { return t.term }

// Pending is a proposed batch.
type Pending struct {
	d    *databases
	done chan error // gets the outcome
}

// Wait blocks until the batch has taken effect on this member and is in the log of a majority. The
// error wraps ErrNotLeading if the tenure has ended; the batch may or may not take effect then.
func (p Pending) Wait() error {
	if err := p.Decided(context.Background()); err != nil {
		return err
	}
	return p.d.flush()
}

// Decided is Wait without the effect on this member, which follows: Flush waits for it. If ctx ends
// first, it returns the cause of ctx, and the batch may or may not take effect.
func (p Pending) Decided(ctx context.Context) error {
	var err error
	select {
	case err = <-p.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotLeading, err)
	}
	return nil
}

// Propose proposes a batch. Batches of one goroutine take effect in the order of the calls.
func (t *Tenure) Propose(b *Batch) Pending {
	p := Pending{d: t.r.d, done: make(chan error, 1)}
	if !t.r.mayAsk() {
		p.done <- raft.ErrRaftShutdown
		return p
	}
	future := t.r.raft.Apply(b.entry(t.term), 0)
	go func() {
		defer t.r.asked.Done()
		err := future.Error()
		if err == nil {
			err, _ = future.Response().(error)
		}
		p.done <- err
	}()
	return p
}

// Flush blocks until the databases of this member have all decided batches.
func (t *Tenure) Flush() error { return t.r.d.flush() }

// DB returns a database for reading.
func (t *Tenure) DB(s Store) *state.DB { return t.r.DB(s) }

// Verify blocks until a majority has confirmed that this member leads.
func (t *Tenure) Verify() error {
	if err := t.r.ask(func() error { return t.r.raft.VerifyLeader().Error() }); err != nil {
		return fmt.Errorf("%w: %w", ErrNotLeading, err)
	}
	return nil
}

var _ io.Closer = (*Replica)(nil)
