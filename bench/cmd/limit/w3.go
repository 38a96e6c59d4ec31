package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
)

const (
	recordBytes = 100
	letters     = 95 // printable bytes
	buckets     = letters * letters
)

// record represents one record during sorting. The bucket implies the first two bytes.
type record struct {
	key uint64 // bytes 2 to 9, big endian
	n   uint32 // number of the record
}

// sorting is the state of w3: all records in memory, put into buckets by their first two bytes, and
// each bucket sorted apart.
type sorting struct {
	data    []byte
	records []record
	start   [buckets + 1]uint32 // where each bucket starts among the records
	at      [][buckets]uint32   // for each worker and bucket: its records, then where its next one goes
}

// w3 sorts records of 100 bytes that begin with two printable bytes; no more than 2^32 of them.
func w3(out string, files []string) error {
	s := &sorting{at: make([][buckets]uint32, workers)}
	if err := s.read(files); err != nil {
		return err
	}
	s.distribute()
	f, err := create(out, "part-00")
	if err != nil {
		return err
	}
	defer f.Close()
	return s.write(f)
}

// share returns a worker's range of records for reading and distributing.
func (s *sorting) share(worker int) (from, to int) {
	return len(s.records) * worker / workers, len(s.records) * (worker + 1) / workers
}

func bucket(key []byte) int { return int(key[0]-' ')*letters + int(key[1]-' ') }

// read reads the files one after the other, each worker its share, and counts the records of each
// bucket.
func (s *sorting) read(paths []string) error {
	files := make([]*os.File, len(paths))
	starts := []int64{0}
	for i, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if info.Size()%recordBytes != 0 {
			return fmt.Errorf("%s: %d bytes are not a whole number of %d-byte records", path, info.Size(), recordBytes)
		}
		files[i] = f
		starts = append(starts, starts[i]+info.Size())
	}
	s.data = make([]byte, starts[len(paths)])
	s.records = make([]record, len(s.data)/recordBytes)
	return parallel(func(w int) error {
		const step = 10_000 * recordBytes // counted while it is in the cache
		from, to := s.share(w)
		counts := &s.at[w]
		for i, f := range files {
			lo, hi := max(int64(from)*recordBytes, starts[i]), min(int64(to)*recordBytes, starts[i+1])
			for ; lo < hi; lo += step {
				b := s.data[lo:min(hi, lo+step)]
				if _, err := f.ReadAt(b, lo-starts[i]); err != nil {
					return fmt.Errorf("%s: %w", f.Name(), err)
				}
				for ; len(b) > 0; b = b[recordBytes:] {
					counts[bucket(b)]++
				}
			}
		}
		return nil
	})
}

// distribute moves the records into their buckets.
func (s *sorting) distribute() {
	var next uint32
	for b := range buckets {
		s.start[b] = next
		for w := range s.at {
			count := s.at[w][b]
			s.at[w][b] = next
			next += count
		}
	}
	s.start[buckets] = next
	_ = parallel(func(w int) error {
		from, to := s.share(w)
		at, data, records := &s.at[w], s.data, s.records
		for n := from; n < to; n++ {
			key := data[n*recordBytes:][:10]
			b := bucket(key)
			records[at[b]] = record{binary.BigEndian.Uint64(key[2:]), uint32(n)}
			at[b]++
		}
		return nil
	})
}

// write sorts the buckets, some at a time, and writes each batch to its place.
func (s *sorting) write(f *os.File) error {
	const batch = 32
	var next atomic.Int64
	return parallel(func(int) error {
		buf, data := make([]byte, 0, 8<<20), s.data
		for {
			b := int(next.Add(1)-1) * batch
			if b >= buckets {
				return nil
			}
			end := min(b+batch, buckets)
			at := int64(s.start[b]) * recordBytes
			buf = buf[:0]
			for ; b < end; b++ {
				records := s.records[s.start[b]:s.start[b+1]]
				slices.SortFunc(records, func(x, y record) int {
					if x.key < y.key { // cmp.Compare is not inlined
						return -1
					}
					if x.key > y.key {
						return 1
					}
					return s.compareLines(x.n, y.n)
				})
				for i := range records {
					at := int(records[i].n) * recordBytes
					buf = append(buf, data[at:at+recordBytes]...)
				}
			}
			if _, err := f.WriteAt(buf, at); err != nil {
				return err
			}
		}
	})
}

func (s *sorting) compareLines(x, y uint32) int {
	return bytes.Compare(s.data[int(x)*recordBytes:][:recordBytes], s.data[int(y)*recordBytes:][:recordBytes])
}
