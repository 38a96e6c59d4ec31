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
	// Peers are the addresses of the first members, with the address of this one.
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
	// transfer is held during Tenure.Transfer.
	transfer lock

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
	r := &Replica{cfg: cfg, log: cfg.Log, ended: make(chan struct{}), snapshotDue: make(chan struct{}, 1), transfer: newLock(), changed: make(chan struct{})}
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

var _ io.Closer = (*Replica)(nil)
