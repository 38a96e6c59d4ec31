package desk

import (
	"encoding/binary"
	"fmt"

	"github.com/layshaft/layshaft/coordinator/internal/bodies"
)

// Snapshot returns all that is remembered durably, as of now: whatever was acknowledged before. Close it after use.
func (d *Desk) Snapshot() *bodies.Snapshot { return d.store.Snapshot() }

// restoredIDs is how many IDs a restored desk skips: the one that the snapshot was taken from may have gone on.
const restoredIDs = 1 << 30

// Filler makes the directory of a desk from a Snapshot.
type Filler struct {
	to   *bodies.Filler
	last uint64 // ID that is taken
}

// NewFiller begins the directory of cfg, which must have nothing in it.
func NewFiller(cfg Config) (*Filler, error) {
	to, err := bodies.NewFiller(cfg.Dir, bodies.Options{NoSync: cfg.NoSync, Reserve: cfg.Reserve, Log: cfg.Log})
	return &Filler{to: to}, err
}

// Add puts a key and value of a Snapshot in. It keeps neither slice. The error wraps bodies.ErrDamaged when they do not belong together.
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

// Close ends the directory, as one that can be opened if whole says that nothing is missing.
func (f *Filler) Close(whole bool) error {
	if whole {
		if err := f.to.Write([]byte{'n'}, binary.BigEndian.AppendUint64(nil, f.last+restoredIDs)); err != nil {
			return err
		}
	}
	return f.to.Close(whole)
}
