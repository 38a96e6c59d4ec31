package aggr

import (
	"bytes"
	"math"

	"github.com/layshaft/layshaft/internal/cursor"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// sorter encodes the place of a row in the order of a call: by the order keys, then by the ordinal,
// or without one by value. So no two different rows have the same place.
type sorter struct {
	value   int // column of the value
	keys    []int
	orders  []vec.Order
	ordinal int // column, or -1
	by      int // a column that comes before the order keys, or -1
	byOrder vec.Order
}

// newSorter returns the sorter of a call. The caller sets Func.Order and Func.Ordinal before.
func newSorter(f *Func, value int) *sorter {
	s := &sorter{value: value, orders: f.Order, ordinal: -1, by: -1}
	for i := range f.Order {
		s.keys = append(s.keys, len(f.Args)+i)
	}
	if f.Ordinal {
		s.ordinal = len(f.Args) + len(f.Order)
	}
	return s
}

func (s *sorter) append(dst []byte, args []*vec.Vec, i int) []byte {
	if s.by >= 0 {
		dst = args[s.by].AppendKey(dst, i, s.byOrder)
	}
	for k, col := range s.keys {
		dst = args[col].AppendKey(dst, i, s.orders[k])
	}
	if s.ordinal >= 0 && s.ordinal < len(args) {
		return args[s.ordinal].AppendKey(dst, i, vec.Order{})
	}
	return args[s.value].AppendKey(dst, i, vec.Order{})
}

// ordered makes f depend on the order of rows.
func ordered(c *call, f *Func) {
	f.Order = c.order
	f.Ordinal = !c.distinct // without equal values, the order of the input has no use
	f.once = true
}

func init() {
	pick := func(names string, last, nulls bool) {
		register(names, 1, 1, "x", func(c *call, f *Func) error {
			f.Result = f.Args[0]
			f.Distinct = false
			f.Order, f.Ordinal = c.order, true
			f.newState = func() State {
				return &picks{t: f.Result, sorter: newSorter(f, 0), last: last, nulls: nulls, check: 0}
			}
			return nil
		})
	}
	pick("first arbitrary", false, true)
	pick("last", true, true)
	pick("any_value", false, false)
	best := func(names string, desc bool) {
		register(names, 2, 3, "x, by, n", func(c *call, f *Func) error {
			f.Distinct = false
			f.Order, f.Ordinal = c.order, true
			if len(c.args) == 3 {
				s := newSorter(f, 0)
				s.by, s.byOrder = 1, vec.Order{Desc: desc}
				return bindFirst(c, f, s)
			}
			f.Result = f.Args[0]
			f.newState = func() State {
				s := newSorter(f, 0)
				s.by, s.byOrder = 1, vec.Order{Desc: desc}
				return &picks{t: f.Result, sorter: s, check: 1, lead: isWord(f.Args[1]), desc: desc}
			}
			return nil
		})
	}
	best("arg_min min_by argmin", false)
	best("arg_max max_by argmax", true)
}

// picks keeps one value of each group: of the row that comes first in the order, or last.
type picks struct {
	t      vec.Type
	sorter *sorter
	last   bool
	nulls  bool // NULL is a value; else rows with NULL in a column up to check are skipped
	check  int
	rows   []picked

	// With lead, rows that are worse by the word of their second column are skipped before they are
	// encoded. The row kept is at least as good as best.
	lead  bool
	desc  bool
	best  []int64
	words []int64

	key, buf []byte
	held     int64
}

// picked is the encoded row of a group: its place in the order and its value. It is nil without a
// row.
type picked struct {
	row []byte
	key int // length of the place
}

func (s *picks) Resize(groups int) {
	s.rows = grow(s.rows, groups)
	if !s.lead {
		return
	}
	from := len(s.best)
	s.best = grow(s.best, groups)
	for i := from; i < len(s.best); i++ {
		s.best[i] = s.worst()
	}
}

func (s *picks) Add(groups []uint32, args []*vec.Vec) error {
	if s.lead {
		s.addLead(groups, args)
		return nil
	}
	for i, g := range groups {
		if !s.skips(args, i) {
			s.offerRow(g, args, i)
		}
	}
	return nil
}

// skips reports whether a NULL excludes row i.
func (s *picks) skips(args []*vec.Vec, i int) bool {
	if s.nulls {
		return false
	}
	for _, v := range args[:s.check+1] {
		if v.Null(i) {
			return true
		}
	}
	return false
}

// addLead is Add for rows that are ordered by a word first.
func (s *picks) addLead(groups []uint32, args []*vec.Vec) {
	by := expand(args[1])
	w := words(by, s.words)
	if by.Ints == nil {
		s.words = w
	}
	for i, g := range groups {
		x := w[i]
		if s.desc && x < s.best[g] || !s.desc && x > s.best[g] || s.skips(args, i) {
			continue
		}
		s.best[g] = x
		s.offerRow(g, args, i)
	}
}

// worst returns the word that no row is worse than.
func (s *picks) worst() int64 {
	if s.desc {
		return math.MinInt64
	}
	return math.MaxInt64
}

func (s *picks) AddAll(group uint32, args []*vec.Vec, n int) error {
	groups := make([]uint32, n)
	fill(groups, group)
	return s.Add(groups, args)
}

// offerRow keeps row i if it is better.
func (s *picks) offerRow(g uint32, args []*vec.Vec, i int) {
	s.key = s.sorter.append(s.key[:0], args, i)
	old := s.rows[g]
	if old.row != nil && !s.isBetter(bytes.Compare(s.key, old.row[:old.key]), true) {
		return
	}
	s.buf = vec.AppendRow(s.buf[:0], args[s.sorter.value:s.sorter.value+1], i)
	s.offer(g, s.key, s.buf)
}

// isBetter reports whether a row that compares so with the one kept replaces it.
func (s *picks) isBetter(c int, orEqual bool) bool {
	if s.last {
		c = -c
	}
	return c < 0 || orEqual && c == 0
}

func (s *picks) offer(g uint32, key, value []byte) {
	x := &s.rows[g]
	if x.row != nil {
		c := bytes.Compare(key, x.row[:x.key])
		if c == 0 {
			c = bytes.Compare(value, x.row[x.key:])
		}
		if !s.isBetter(c, false) {
			return
		}
	}
	s.held -= int64(cap(x.row))
	x.row = append(append(x.row[:0], key...), value...)
	x.key = len(key)
	s.held += int64(cap(x.row))
}

func (s *picks) AppendState(dst []byte, group int) []byte {
	x := s.rows[group]
	if x.row == nil {
		return append(dst, 0)
	}
	return cursor.AppendBytes(cursor.AppendBytes(dst, x.row[:x.key]), x.row[x.key:])
}

func (s *picks) MergeState(group int, src []byte) ([]byte, error) {
	d := decoderOf(src)
	key := d.Bytes()
	if len(key) == 0 {
		return d.end()
	}
	value := d.Bytes()
	rest, err := d.end()
	if err != nil {
		return nil, err
	}
	if s.lead {
		s.best[group] = s.worst()
	}
	s.offer(uint32(group), key, value)
	return rest, nil
}

func (s *picks) Result(from, to int) (*vec.Vec, error) {
	b := vec.NewBuilder(s.t, to-from)
	for _, x := range s.rows[from:to] {
		if x.row == nil {
			b.AppendNull()
			continue
		}
		if rest, err := vec.DecodeRow(x.row[x.key:], []*vec.Builder{b}); err != nil || len(rest) > 0 {
			return nil, vec.ErrCorrupt
		}
	}
	return b.Done(), nil
}

func (s *picks) Bytes() int64 { return 32*int64(cap(s.rows)) + 8*int64(cap(s.best)) + s.held }
