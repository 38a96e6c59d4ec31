package spill

import (
	"bytes"
	"io"
	"math"
	"math/bits"

	"github.com/layshaft/layshaft/internal/record"
)

// Run reads the blocks of one sorted run. It never reuses a block, so records returned by Merge do
// not change.
type Run interface {
	// Next returns the next block, or io.EOF after the last.
	Next() ([]byte, error)
}

// Merge reads sorted runs as one: records in key order, equal keys in the order of the runs. It is
// a loser tree (Knuth, The Art of Computer Programming, volume 3, section 5.4.1) over cached key
// prefixes.
type Merge struct {
	runs      []cursor
	tree      []player // tree[0] is the winner; the others are the losers of their matches
	isStarted bool
}

// player is a run and the prefix of its key, which is the largest possible one after its end.
type player struct {
	prefix uint64
	run    uint64
}

type cursor struct {
	prefix uint64
	key    []byte
	value  []byte
	rest   []byte
	run    Run
	isDone bool
}

// NewMerge returns a Merge of runs. It reads nothing before the first Next.
func NewMerge(runs []Run) *Merge {
	m := &Merge{runs: make([]cursor, len(runs)), tree: make([]player, max(1, len(runs)))}
	for i, r := range runs {
		m.runs[i].run = r
	}
	return m
}

// Next returns the next record and the index of its run, or io.EOF after the last.
func (m *Merge) Next() (key, value []byte, run int, err error) {
	if len(m.runs) == 0 {
		return nil, nil, 0, io.EOF
	}
	if !m.isStarted {
		m.isStarted = true
		for i := range m.runs {
			if err := m.runs[i].advance(); err != nil {
				return nil, nil, 0, err
			}
		}
		m.tree[0] = m.build(1)
	} else {
		w := int(m.tree[0].run)
		c := &m.runs[w]
		last := c.key
		if err := c.advance(); err != nil {
			return nil, nil, 0, err
		}
		// a run that repeats its key stays the winner
		if c.isDone || len(c.key) != len(last) || string(c.key) != string(last) {
			m.replay(w)
		}
	}
	w := int(m.tree[0].run)
	c := &m.runs[w]
	if c.isDone {
		return nil, nil, 0, io.EOF
	}
	return c.key, c.value, w, nil
}

func (c *cursor) advance() error {
	for len(c.rest) == 0 {
		b, err := c.run.Next()
		if err == io.EOF {
			c.isDone, c.prefix = true, math.MaxUint64
			return nil
		}
		if err != nil {
			return err
		}
		c.rest = b
	}
	var err error
	if c.key, c.value, c.rest, err = record.Cut(c.rest); err != nil {
		return err
	}
	c.prefix = prefix(c.key)
	return nil
}

// build plays the matches below node n and returns the winner. For k runs, node n >= k stands for
// player n-k.
func (m *Merge) build(n int) player {
	k := len(m.runs)
	if n >= k {
		return player{m.runs[n-k].prefix, uint64(n - k)}
	}
	a, b := m.build(2*n), m.build(2*n+1)
	if b.prefix < a.prefix || b.prefix == a.prefix && m.lessKey(b.run, a.run) {
		a, b = b, a
	}
	m.tree[n] = b
	return a
}

// replay repeats the matches of run i up to the root. Who wins is hard to predict for a processor,
// so the players change places without a branch.
func (m *Merge) replay(i int) {
	w := player{m.runs[i].prefix, uint64(i)}
	for n := (i + len(m.runs)) / 2; n > 0; n /= 2 {
		l := m.tree[n]
		_, less := bits.Sub64(l.prefix, w.prefix, 0)
		if l.prefix == w.prefix && m.lessKey(l.run, w.run) {
			less = 1
		}
		prefix, run := (l.prefix^w.prefix)&-less, (l.run^w.run)&-less
		m.tree[n] = player{l.prefix ^ prefix, l.run ^ run}
		w.prefix, w.run = w.prefix^prefix, w.run^run
	}
	m.tree[0] = w
}

// lessKey reports whether run a goes before run b, whose prefix is the same.
func (m *Merge) lessKey(a, b uint64) bool {
	x, y := &m.runs[a], &m.runs[b]
	if x.isDone || y.isDone {
		return !x.isDone && y.isDone
	}
	if c := bytes.Compare(x.key, y.key); c != 0 {
		return c < 0
	}
	return a < b
}
