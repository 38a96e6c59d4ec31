package replica

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Recovered describes the directory of a member for Recover.
type Recovered struct {
	// ID and Address belong to the member.
	ID, Address string
	// Others are the addresses of the other members of its group.
	Others []string
	// Term and Last are the term and the index of the last entry of its log.
	Term, Last uint64
	// Unconfirmed means that the last entries may not be on a majority. They take effect.
	Unconfirmed bool
}

// ErrNoGroup means that a directory has no group to recover.
var ErrNoGroup = errors.New("no group to recover")

// reachWait limits the wait for one of the other members.
const reachWait = 2 * time.Second

// Recover makes the member in a directory the only one of its group, with all entries of its log.
// It is for a group whose majority is lost for good. It refuses while other members can be reached.
// With dry it changes nothing. The directory must not be in use. cfg needs Dir, and may have
// Reserve and Log.
func Recover(ctx context.Context, cfg Config, dry bool) (out Recovered, err error) {
	if id, err := memberID(directory(cfg.Dir)); err != nil || id == "" {
		return out, errors.Join(err, fmt.Errorf("%s: %w: it is not the directory of a member", cfg.Dir, ErrNoGroup))
	}
	closed := &unusedListener{}
	cfg.Address, cfg.Listener = "none", closed
	cfg.Peers = []string{cfg.Address}
	r, err := Open(cfg)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, r.wal.Close(), r.d.close()) }()
	return r.recoverAlone(ctx, dry)
}

// unusedListener is for a replica that does not run.
type unusedListener struct{ net.Listener }

// recoverAlone is Recover with the open files.
func (r *Replica) recoverAlone(ctx context.Context, dry bool) (out Recovered, err error) {
	r.d.awaitLog = func(uint64) error { return nil } // all of the log is durable
	m, err := r.snaps.load()
	if err != nil {
		return out, err
	}
	var group raft.Configuration
	if m != nil {
		group, out.Term, out.Last = m.Configuration, m.Term, m.Index
	}
	applied := out.Last
	first, err := r.wal.FirstIndex()
	if err != nil {
		return out, err
	}
	last, err := r.wal.LastIndex()
	if err != nil {
		return out, err
	}
	var entries []*raft.Log
	for i := applied + 1; i <= last; i++ {
		e := &raft.Log{}
		if err := r.wal.GetLog(i, e); err != nil {
			return out, fmt.Errorf("entry %d of the log: %w", i, err)
		}
		if e.Term < out.Term { // it was never decided, and the snapshot of a later term came beside it
			break
		}
		if e.Type == raft.LogConfiguration {
			group = raft.DecodeConfiguration(e.Data)
		}
		entries = append(entries, e)
		out.Term, out.Last, out.Unconfirmed = e.Term, e.Index, true
	}
	out.ID = r.id
	for _, s := range group.Servers {
		_, address := splitAddress(s.Address)
		if string(s.ID) == r.id {
			out.Address = address
		} else {
			out.Others = append(out.Others, address)
		}
	}
	if out.Address == "" {
		return out, fmt.Errorf("%s: %w: its member %s belongs to none: it was removed, or was never added", r.cfg.Dir, ErrNoGroup, r.id)
	}
	if err := checkUnreachable(ctx, out.Others); err != nil || dry {
		return out, err
	}
	for _, e := range entries {
		if err, _ := r.d.Apply(e).(error); err != nil && !errors.Is(err, errStale) {
			return out, err
		}
	}
	if err := r.d.sync(); err != nil {
		return out, err
	}
	alone := raft.Configuration{Servers: []raft.Server{{ID: raft.ServerID(r.id), Address: joinAddress(r.id, out.Address)}}}
	sink, err := r.snaps.Create(raft.SnapshotVersionMax, out.Last, out.Term, alone, out.Last, nil)
	if err == nil {
		err = sink.Close()
	}
	if err == nil && last >= first && last > 0 {
		err = r.wal.disk.DeleteRange(first, last)
	}
	return out, err
}

// checkUnreachable returns an error if something accepts connections at one of the addresses.
func checkUnreachable(ctx context.Context, addresses []string) error {
	ctx, cancel := context.WithTimeout(ctx, reachWait)
	defer cancel()
	reached := make([]bool, len(addresses))
	var dials sync.WaitGroup
	for i, a := range addresses {
		dials.Go(func() {
			var d net.Dialer
			if c, err := d.DialContext(ctx, "tcp", a); err == nil {
				reached[i] = true
				_ = c.Close()
			}
		})
	}
	dials.Wait()
	var found []string
	for i, a := range addresses {
		if reached[i] {
			found = append(found, a)
		}
	}
	if len(found) == 0 {
		return nil
	}
	return fmt.Errorf("something answers at %s, the address of another coordinator of the group: if that coordinator has its directory, start this one again instead; a majority of them is enough. If it is lost, end the process that answers", strings.Join(found, " and "))
}
