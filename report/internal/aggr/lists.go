package aggr

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/layshaft/layshaft/internal/cursor"
	"github.com/layshaft/layshaft/report/internal/vec"
)

func init() {
	// callers make JSON of the lists of the last three
	register("array_agg list json_agg jsonb_agg json_group_array", 1, 1, "x", func(c *call, f *Func) error {
		f.Result = vec.ListOf(f.Args[0])
		ordered(c, f)
		f.newState = func() State {
			return &lists{t: f.Args[0], sorter: newSorter(f, 0), nulls: true, distinct: c.distinct, build: buildLists}
		}
		return nil
	})
	register("string_agg listagg group_concat", 1, 2, "x, separator", func(c *call, f *Func) error {
		separator := ","
		if len(c.args) == 2 {
			v := c.consts[1]
			switch {
			case v == nil:
				return c.errorf("", "%s: the separator must be a constant", c.name)
			case v.Null(0):
				separator = ""
			case v.Strings == nil && v.Dict == nil:
				return c.refuse(1, "text")
			default:
				separator = v.String(0)
			}
			f.Args[1] = vec.Of(vec.Text)
		}
		f.Args[0] = vec.Of(vec.Text)
		f.Result = vec.Of(vec.Text)
		ordered(c, f)
		f.newState = func() State {
			return &lists{t: f.Args[0], sorter: newSorter(f, 0), distinct: c.distinct, build: func(s *lists, from, to int) (*vec.Vec, error) {
				return s.join(separator, from, to)
			}}
		}
		return nil
	})
}

// bindFirst binds a function that lists the first n values of an order, without
// NULLs. n is the last argument.
func bindFirst(c *call, f *Func, s *sorter) error {
	n, err := limit(c, len(c.args)-1)
	if err != nil {
		return err
	}
	f.Result, f.once = vec.ListOf(f.Args[0]), true
	f.newState = func() State {
		return &lists{t: f.Args[0], sorter: s, check: max(s.by, 0), distinct: c.distinct, most: n, build: buildLists}
	}
	return nil
}

// limit returns the constant argument i, a number of values.
func limit(c *call, i int) (int, error) {
	if v := c.consts[i]; v != nil && v.Type.Kind == vec.Int && !v.Null(0) {
		if n := int64(v.Int128(0).Lo); n > 0 && n <= 1_000_000 {
			return int(n), nil
		}
	}
	return 0, c.errorf("", "%s: argument %d must be a constant integer from 1 to 1000000", c.name, i+1)
}

// lists keeps all values of each group with their places in the order.
type lists struct {
	t        vec.Type
	sorter   *sorter
	nulls    bool // NULL is a value; else rows with NULL in a column up to check are skipped
	check    int
	distinct bool
	most     int // if not 0, only as many values are needed
	build    func(s *lists, from, to int) (*vec.Vec, error)

	// groups has for each group its items, one after another: the length of the place in the order,
	// the place, the length of the value, the value as vec.AppendRow encodes it.
	groups   [][]byte
	compact  []int // with distinct or most: the length at which needless items are removed again
	key, buf []byte
	items    []item
	held     int64
}

// item is one value of a list.
type item struct{ key, value []byte }

func (s *lists) Resize(groups int) {
	s.groups = grow(s.groups, groups)
	if s.distinct || s.most > 0 {
		s.compact = grow(s.compact, groups)
	}
}

func (s *lists) Add(groups []uint32, args []*vec.Vec) error {
	one := args[s.sorter.value : s.sorter.value+1]
rows:
	for i, g := range groups {
		if !s.nulls {
			for _, v := range args[:s.check+1] {
				if v.Null(i) {
					continue rows
				}
			}
		}
		s.key = s.sorter.append(s.key[:0], args, i)
		s.buf = vec.AppendRow(s.buf[:0], one, i)
		s.append(int(g), func(dst []byte) []byte { return cursor.AppendBytes(cursor.AppendBytes(dst, s.key), s.buf) })
	}
	return nil
}

func (s *lists) AddAll(group uint32, args []*vec.Vec, n int) error {
	groups := make([]uint32, n)
	fill(groups, group)
	return s.Add(groups, args)
}

// append extends the items of a group.
func (s *lists) append(g int, add func([]byte) []byte) {
	s.held -= int64(cap(s.groups[g]))
	s.groups[g] = add(s.groups[g])
	if s.compact != nil && len(s.groups[g]) > s.compact[g] {
		s.shrink(g)
		s.compact[g] = max(1<<10, 2*len(s.groups[g]))
	}
	s.held += int64(cap(s.groups[g]))
}

// parse splits the items of a group.
func (s *lists) parse(b []byte) ([]item, error) {
	s.items = s.items[:0]
	d := decoderOf(b)
	for len(d.Rest()) > 0 {
		s.items = append(s.items, item{d.Bytes(), d.Bytes()})
	}
	if d.Failed() {
		return nil, vec.ErrCorrupt
	}
	return s.items, nil
}

func compareItems(a, b item) int {
	if c := bytes.Compare(a.key, b.key); c != 0 {
		return c
	}
	return bytes.Compare(a.value, b.value)
}

// shrink removes needless items: equal values but the first, and items behind the first most.
func (s *lists) shrink(g int) {
	items, err := s.parse(s.groups[g])
	if err != nil {
		return // Result returns the error
	}
	if s.distinct {
		slices.SortFunc(items, func(a, b item) int {
			if c := bytes.Compare(a.value, b.value); c != 0 {
				return c
			}
			return bytes.Compare(a.key, b.key)
		})
		items = slices.CompactFunc(items, func(a, b item) bool { return bytes.Equal(a.value, b.value) })
	}
	if s.most > 0 && len(items) > s.most {
		slices.SortFunc(items, compareItems)
		items = items[:s.most]
	}
	out := make([]byte, 0, len(s.groups[g]))
	for _, x := range items {
		out = cursor.AppendBytes(cursor.AppendBytes(out, x.key), x.value)
	}
	s.groups[g] = out
}

// sorted returns the items of a group in their order.
func (s *lists) sorted(g int) ([]item, error) {
	if s.compact != nil && len(s.groups[g]) > 0 {
		s.held -= int64(cap(s.groups[g]))
		s.shrink(g)
		s.held += int64(cap(s.groups[g]))
	}
	items, err := s.parse(s.groups[g])
	if err == nil && !slices.IsSortedFunc(items, compareItems) {
		slices.SortFunc(items, compareItems)
	}
	return items, err
}

func (s *lists) AppendState(dst []byte, group int) []byte {
	return cursor.AppendBytes(dst, s.groups[group])
}

func (s *lists) MergeState(group int, src []byte) ([]byte, error) {
	d := decoderOf(src)
	b := d.Bytes()
	rest, err := d.end()
	if err == nil && len(b) > 0 {
		_, err = s.parse(b)
		s.append(group, func(dst []byte) []byte { return append(dst, b...) })
	}
	return rest, err
}

func (s *lists) Result(from, to int) (*vec.Vec, error) { return s.build(s, from, to) }

func buildLists(s *lists, from, to int) (*vec.Vec, error) {
	v := vec.New(vec.ListOf(s.t), to-from)
	elems := []*vec.Builder{vec.NewBuilder(s.t, 0)}
	for i := range v.Len {
		items, err := s.sorted(from + i)
		if err != nil {
			return nil, err
		}
		if len(items) == 0 {
			v.SetNull(i)
		}
		for _, x := range items {
			if rest, err := vec.DecodeRow(x.value, elems); err != nil || len(rest) > 0 {
				return nil, vec.ErrCorrupt
			}
		}
		v.Offsets[i+1] = int32(elems[0].Len)
	}
	v.Elem = elems[0].Done()
	return v, nil
}

// join concatenates the texts of each group.
func (s *lists) join(separator string, from, to int) (*vec.Vec, error) {
	v := vec.New(vec.Of(vec.Text), to-from)
	for i := range v.Len {
		items, err := s.sorted(from + i)
		if err != nil {
			return nil, err
		}
		if len(items) == 0 {
			v.SetNull(i)
			continue
		}
		var b strings.Builder
		for k, x := range items {
			if k > 0 {
				b.WriteString(separator)
			}
			// a byte of 1, the length, the text
			if len(x.value) < 2 {
				return nil, vec.ErrCorrupt
			}
			n, w := binary.Uvarint(x.value[1:])
			if w <= 0 || n != uint64(len(x.value)-1-w) {
				return nil, vec.ErrCorrupt
			}
			b.Write(x.value[1+w:])
		}
		v.Strings[i] = b.String()
	}
	return v, nil
}

func (s *lists) Bytes() int64 {
	return 24*int64(cap(s.groups)) + 8*int64(cap(s.compact)) + 48*int64(cap(s.items)) + s.held
}
