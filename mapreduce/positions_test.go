package mapreduce_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

// unreadable cannot be decoded a second time.
type unreadable struct{}

var decoded atomic.Int64

func (unreadable) MarshalBinary() ([]byte, error) { return []byte("x"), nil }

func (*unreadable) UnmarshalBinary([]byte) error {
	if decoded.Add(1) > 1 {
		return errors.New("it cannot be read")
	}
	return nil
}

// A record that cannot be read is not a missing one.
func TestZipError(t *testing.T) {
	_, err := mapreduce.Define("zip", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[int] {
		return mapreduce.Zip(mapreduce.Read(p, memio.Of(unreadable{})), mapreduce.Read(p, memio.Of(1)), func(_ unreadable, i int) int { return i })
	}).Collect(context.Background(), mapreduce.Local{}, mapreduce.None{})
	if err == nil || !strings.Contains(err.Error(), "it cannot be read") {
		t.Error(err)
	}
}
