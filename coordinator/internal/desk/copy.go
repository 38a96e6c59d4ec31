package desk

import (
	"encoding/binary"
	"fmt"

	"github.com/layshaft/layshaft/coordinator/internal/bodies"
)

// Snapshot returns all durable records as of now, including every acknowledged task. Close it
// after use. It needs no lock.
func (d *Desk) Snapshot() *bodies.Snapshot { return d.store.Snapshot() }

// restoredIDs is the number of task IDs that a restored desk skips: the original may have used
// more since the snapshot.
const restoredIDs = 1 << 30

// Filler creates the directory of a desk from a Snapshot.
type Filler struct {
	to *bodies.Filler
	// last is the highest reserved ID count in the snapshot.
	last uint64
}

// NewFiller starts the directory of cfg, which must be empty.
func NewFiller(cfg Config) (*Filler, error) {
	to, err := bodies.NewFiller(cfg.Dir, bodies.Options{NoSync: cfg.NoSync, Reserve: cfg.Reserve, Log: cfg.Log})
	return &Filler{to: to}, err
}

// Add stores one key and value of a Snapshot. It keeps neither slice. The error wraps
// bodies.ErrDamaged if key and value do not match.
func (f *Filler) Add(key, value []byte) error {
	if string(key) != "n" {
		return f.to.Add(key, value)
	}
	record, err := bodies.Record(key, value)
	if err == nil && len(record) != 8 {
		err = fmt.Errorf("last ID: %w", bodies.ErrDamaged)
	}
	if err == nil {
		f.last = binary.BigEndian.Uint64(record)
	}
	return err
}

// Close finishes the directory. Only with whole set, when nothing is missing, can it be opened.
func (f *Filler) Close(whole bool) error {
	if whole {
		if err := f.to.Write([]byte{'n'}, binary.BigEndian.AppendUint64(nil, f.last+restoredIDs)); err != nil {
			return err
		}
	}
	return f.to.Close(whole)
}
