package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/bits"
	"os"
)

// event is a row of events/*.csv: three numbers without signs or quotes, below a header.
type event struct{ id, user, amount int64 }

// eachEvent passes the events of the files to the workers.
func eachEvent(files []string, work func(worker int, e event)) error {
	return eachChunk(files, func(worker int, lines []byte) {
		for i := 0; i < len(lines); i++ { // from the line feed to the next line
			if lines[i] > '9' { // the header
				i += bytes.IndexByte(lines[i:], '\n')
				continue
			}
			var e event
			b := lines[:len(lines)+1] // with a line feed
			e.id, i = digits(b, i)
			e.user, i = digits(b, i+1)
			e.amount, i = digits(b, i+1)
			work(worker, e)
		}
	})
}

// digits reads a number. It returns the index after it. A byte below the digits must follow.
func digits(b []byte, i int) (int64, int) {
	n := int64(0)
	for ; b[i] >= '0'; i++ {
		n = n*10 + int64(b[i]-'0')
	}
	return n, i
}

// pair is a key, at least 0, and its sum.
type pair struct{ key, sum int64 }

// shards is the number of parts of a shuffle. A table of one part fits in the processor's cache.
const shards = 64

// shuffle distributes pairs by the hash of their keys: one slice per worker and shard.
type shuffle [][]pair

func newShuffle() shuffle { return make(shuffle, workers*shards) }

func (s shuffle) add(worker int, p pair) {
	shard, _ := bits.Mul64(hashKey(p.key), shards)
	at := &s[worker*shards+int(shard)]
	*at = append(*at, p)
}

// each adds up the pairs of each shard by key, and passes the sums to the workers.
func (s shuffle) each(work func(worker int, p pair)) error {
	return parallel(func(worker int) error {
		var t sums
		for shard := worker; shard < shards; shard += workers {
			n := 0
			for w := range workers {
				n += len(s[w*shards+shard])
			}
			t.reset(n)
			for w := range workers {
				for _, p := range s[w*shards+shard] {
					t.add(p)
				}
				s[w*shards+shard] = nil
			}
			for _, p := range t.slots {
				if p.key != 0 {
					work(worker, pair{p.key - 1, p.sum})
				}
			}
		}
		return nil
	})
}

// sums is a table of open addressing with room for a known number of keys.
type sums struct {
	slots []pair // a power of two; key + 1, or 0 in a free slot
}

func (t *sums) reset(keys int) {
	n := 1 << bits.Len(uint(keys+keys/2))
	if n > cap(t.slots) {
		t.slots = make([]pair, n)
		return
	}
	t.slots = t.slots[:n]
	clear(t.slots)
}

func (t *sums) add(p pair) {
	mask := uint64(len(t.slots) - 1)
	for h := hashKey(p.key); ; h++ {
		s := &t.slots[h&mask]
		if s.key == 0 {
			s.key = p.key + 1
		}
		if s.key == p.key+1 {
			s.sum += p.sum
			return
		}
	}
}

func hashKey(key int64) uint64 { return mix(uint64(key)^mul0, mul1) }

// chain sums amounts by key. 8 shuffles, each with other keys, come before it.
func chain(out string, files []string) error {
	const steps, prime = 8, 15_485_863
	s := newShuffle()
	if err := eachEvent(files, func(w int, e event) { s.add(w, pair{e.id * 48271 % prime, e.amount}) }); err != nil {
		return err
	}
	for i := int64(1); i < steps; i++ {
		next := newShuffle()
		if err := s.each(func(w int, p pair) { next.add(w, pair{(p.key*48271 + i) % prime, p.sum}) }); err != nil {
			return err
		}
		s = next
	}
	parts := make([][1000]int64, workers)
	if err := s.each(func(w int, p pair) { parts[w][p.key%1000] += p.sum }); err != nil {
		return err
	}
	return writeFile(out, func(o io.Writer) {
		for key := range parts[0] {
			sum := int64(0)
			for _, part := range parts {
				sum += part[key]
			}
			fmt.Fprintf(o, "%d\t%d\n", key, sum)
		}
	})
}

// countries has the country of each user. Users are the numbers from 0, in the order of the file.
type countries struct {
	country *names
	ofUser  []uint16
}

func readCountries(path string) (*countries, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c := &countries{country: newNames(1 << 10)}
	_, b, _ = bytes.Cut(b, []byte("\n"))
	for line := range bytes.Lines(b) {
		user, country, _ := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(","))
		if n, _ := digits(append(user[:len(user):len(user)], ' '), 0); n != int64(len(c.ofUser)) {
			return nil, fmt.Errorf("%s: user %d on line %d: users must be the numbers from 0, in order", path, n, len(c.ofUser)+2)
		}
		c.ofUser = append(c.ofUser, uint16(c.country.number(country)))
	}
	return c, nil
}

// skewJoin joins events with the countries of their users, and reports by country: events, sum of
// the amounts.
func skewJoin(out string, files []string) error {
	c, err := readCountries(files[0])
	if err != nil {
		return err
	}
	type sum struct{ n, amount int64 }
	parts := make([][]sum, workers)
	for w := range parts {
		parts[w] = make([]sum, len(c.country.keys))
	}
	if err := eachEvent(files[1:], func(w int, e event) {
		if e.user < int64(len(c.ofUser)) {
			s := &parts[w][c.ofUser[e.user]]
			s.n++
			s.amount += e.amount
		}
	}); err != nil {
		return err
	}
	return writeFile(out, func(o io.Writer) {
		for n, country := range c.country.keys {
			var s sum
			for _, part := range parts {
				s.n += part[n].n
				s.amount += part[n].amount
			}
			if s.n > 0 {
				fmt.Fprintf(o, "%s\t%d\t%d\n", country, s.n, s.amount)
			}
		}
	})
}

// countDistinct counts the different ids.
func countDistinct(out string, files []string) error {
	s := newShuffle()
	if err := eachEvent(files, func(w int, e event) { s.add(w, pair{key: e.id}) }); err != nil {
		return err
	}
	counts := make([]int64, workers)
	if err := s.each(func(w int, _ pair) { counts[w]++ }); err != nil {
		return err
	}
	return writeFile(out, func(o io.Writer) {
		n := int64(0)
		for _, count := range counts {
			n += count
		}
		fmt.Fprintln(o, n)
	})
}

// writeFile writes the only file of an output.
func writeFile(out string, write func(o io.Writer)) error {
	f, err := create(out, "part-00")
	if err != nil {
		return err
	}
	defer f.Close()
	o := bufio.NewWriter(f)
	write(o)
	return o.Flush()
}
