//go:build !linux

package shuffle

import (
	"errors"
	"math"
	"os"
)

// Other systems lack the disk guard, and sync a segment only at its end.

func freeBytes(string) (int64, error) { return math.MaxInt64, nil }

func allocate(string, int64) error { return errors.ErrUnsupported }

func startWriteback(*os.File, int64, int64) {}

func syncData(f *os.File) error { return f.Sync() }
