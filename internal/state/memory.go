package state

import (
	"fmt"
	"log/slog"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// OpenMemory opens an empty store in memory, for simulations: small, and without goroutines that
// wake up on their own. sync stands for the sync of SyncAll. Options.Free, if set, is its disk.
func OpenMemory(opt Options, sync func() error) (*DB, error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Free == nil {
		opt.Reserve = -1
	}
	db := &DB{sync: sync, guard: &guard{reserve: opt.Reserve, free: opt.Free, log: opt.Log, work: make(chan struct{}, 1)}}
	var err error
	db.DB, err = badger.Open(badger.DefaultOptions("").
		WithInMemory(true).
		WithMemTableSize(memoryTable).
		WithValueThreshold(memoryTable / 10).
		WithBaseTableSize(64 << 10).
		WithNumCompactors(0).
		WithCompression(options.None).
		WithBlockCacheSize(0).
		WithIndexCacheSize(0).
		WithDetectConflicts(false).
		WithMetricsEnabled(false).
		WithLogger(badgerLog{opt.Log, func() {}}))
	if err != nil {
		return nil, fmt.Errorf("open in memory: %w", err)
	}
	return db, nil
}

// memoryTable is the size of a table of a store in memory, in bytes. The store is meant for less.
const memoryTable = 256 << 10
