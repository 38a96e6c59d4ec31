package spill

import (
	"bytes"
	"io"

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
	tree      []int32 // tree[0] is the winner; the others are the losers of their matches
	isStarted bool
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
	m := &Merge{runs: make([]cursor, len(runs)), tree: make([]int32, max(1, len(runs)))}
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
		w := m.tree[0]
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
	w := m.tree[0]
	c := &m.runs[w]
	if c.isDone {
		return nil, nil, 0, io.EOF
	}
	return c.key, c.value, int(w), nil
}

func (c *cursor) advance() error {
	for len(c.rest) == 0 {
		b, err := c.run.Next()
		if err == io.EOF {
			c.isDone = true
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
func (m *Merge) build(n int) int32 {
	k := len(m.runs)
	if n >= k {
		return int32(n - k)
	}
	a, b := m.build(2*n), m.build(2*n+1)
	if m.less(b, a) {
		a, b = b, a
	}
	m.tree[n] = b
	return a
}

// replay repeats the matches of run w up to the root.
func (m *Merge) replay(w int32) {
	for n := (int(w) + len(m.runs)) / 2; n > 0; n /= 2 {
		if l := m.tree[n]; m.less(l, w) {
			m.tree[n], w = w, l
		}
	}
	m.tree[0] = w
}

func (m *Merge) less(a, b int32) bool {
	x, y := &m.runs[a], &m.runs[b]
	if x.isDone || y.isDone {
		return !x.isDone && y.isDone
	}
	if x.prefix != y.prefix {
		return x.prefix < y.prefix
	}
	if c := bytes.Compare(x.key, y.key); c != 0 {
		return c < 0
	}
	return a < b
}
