package replica

import (
	"context"
	"errors"

	"github.com/hashicorp/raft"
)

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
		if r.grownBytes.Load() < followedBytes && r.snaps.isFollowed() {
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
