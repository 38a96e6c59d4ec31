package replica

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

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
