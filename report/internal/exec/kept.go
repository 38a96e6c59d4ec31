package exec

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/partials"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/report/internal/bind"
)

// An aggregate of the rows of files can be kept file by file: its states merge in any order. Such a
// candidate reads one scan through operators that work on each row alone: filter, project, unnest,
// and joins with an input that all tasks get. A run with stored states has two jobs. The first one
// reads the files without states, and returns the groups of each file. The second one is the
// statement, whose aggregates read states in place of files.

// candidate is an aggregate whose states can be kept.
type candidate struct {
	// number is the position among the aggregates of the statement, in order of the tree.
	number int
	agg    *bind.Aggregate
	// node is the operator of the tree: agg, or the DISTINCT that it stands for.
	node bind.Node
	// scan is the scan whose files have states of their own.
	scan *bind.Scan
}

// candidates returns the aggregates whose states can be kept. why is the reason if there are none.
func (s *Statement) candidates(root bind.Node) (all []candidate, why string) {
	if s.MaxBad > 0 {
		return nil, "rows that are set aside are reported again in each run"
	}
	all, why = s.find(root)
	if s.Now == 0 || len(all) == 0 {
		return all, why
	}
	later := *s
	later.Now += (400 * 24 * time.Hour).Microseconds()
	root, err := later.Bind(context.Background())
	if err != nil {
		return nil, "it depends on the time"
	}
	other, _ := later.find(root)
	timeless := all[:0]
	for i, c := range all {
		if i < len(other) && slices.Equal(bind.Constants(c.agg), bind.Constants(other[i].agg)) {
			timeless = append(timeless, c)
		}
	}
	return timeless, "its rows depend on the time of the run"
}

// find returns the aggregates whose states can be kept in a run at one time.
func (s *Statement) find(root bind.Node) (all []candidate, why string) {
	number := 0
	why = "it has no aggregate"
	var walk func(n bind.Node)
	walk = func(n bind.Node) {
		if agg := aggregateOf(n); agg != nil {
			number++
			scan, problem := s.keepable(agg)
			if problem == "" {
				all = append(all, candidate{number, agg, n, scan})
				return // what is below is part of it
			}
			why = problem
		}
		for _, in := range n.Inputs() {
			walk(in)
		}
	}
	walk(root)
	return all, why
}

// aggregateOf returns the aggregate that an operator is. It is nil for other operators.
func aggregateOf(n bind.Node) *bind.Aggregate {
	switch n := n.(type) {
	case *bind.Aggregate:
		return n
	case *bind.Distinct:
		if len(n.Keys) == len(n.Columns()) {
			return distinctAggregate(n)
		}
	}
	return nil
}

// keepable returns the scan below an aggregate, or the reason why its states cannot be kept.
func (s *Statement) keepable(agg *bind.Aggregate) (scan *bind.Scan, why string) {
	for _, a := range agg.Aggs {
		if a.Func.Ordinal {
			return nil, a.Func.Written + " depends on the order of all rows"
		}
	}
	var others []*bind.Scan
	for n := agg.In; scan == nil; {
		switch x := n.(type) {
		case *bind.Scan:
			scan = x
		case *bind.Filter:
			n = x.In
		case *bind.Project:
			n = x.In
		case *bind.Unnest:
			n = x.In
		case *bind.Join:
			if !isSmall(x, s.Broadcast) {
				return nil, "its aggregate follows a join of two large inputs"
			}
			others = append(others, scansOf(x.Right)...)
			n = x.Left
		default:
			return nil, "its aggregate does not read files row by row; it follows " + bind.Describe(n)
		}
	}
	for _, o := range append(others, scan) {
		if o.Table.IsOutside() {
			return nil, "a table of a database changes without a trace"
		}
	}
	for _, o := range append(others, scan) {
		switch {
		case o.Table.IsOutside():
			return nil, "it reads a table of PostgreSQL, whose rows change without a sign"
		case o != scan && o.Number == scan.Number:
			return nil, "a table is joined with itself"
		}
	}
	return scan, ""
}

// scansOf returns the scans of a tree.
func scansOf(n bind.Node) (all []*bind.Scan) {
	if s, ok := n.(*bind.Scan); ok {
		return []*bind.Scan{s}
	}
	for _, in := range n.Inputs() {
		all = append(all, scansOf(in)...)
	}
	return all
}

// filePrefix returns what the keys of the groups of a file begin with.
func filePrefix(path string) (prefix [8]byte) {
	binary.BigEndian.PutUint64(prefix[:], xxh3.HashString(filesys.DisplayText(path)))
	return prefix
}

// fileGroups returns the groups of each file of a candidate, in blocks of [partials.AppendGroup].
// The key of a group begins with the prefix of its file.
func (p *plan) fileGroups(c candidate) mapreduce.Dataset[Block] {
	p.driving = c.scan
	rows := mapreduce.MapTask(p.node(c.agg.In), p.foldFiles(c.agg), mapreduce.Named("fold"))
	return mapreduce.MergeTask(rows, mapreduce.Merge[Block]{
		Fold: func(dst []byte, values [][]byte) ([]byte, error) { return mergeStates(c.agg, dst, values) },
		Start: func(_ context.Context, _ mapreduce.Task, emit func(Block)) (func(key []byte, values [][]byte) error, func() error) {
			var b Block
			var data []byte
			flush := func() error {
				if b.N > 0 {
					emit(b)
					b = Block{}
				}
				return nil
			}
			return func(key []byte, values [][]byte) (err error) {
				if data, err = mergeStates(c.agg, data[:0], values); err != nil {
					return failed(err)
				}
				b.Data = partials.AppendGroup(b.Data, stringOf(key), stringOf(data))
				if b.N++; len(b.Data) >= 256<<10 {
					return flush()
				}
				return nil
			}, flush
		},
	}, mapreduce.Named("groups"))
}

// keptSource is a source of stored groups.
type keptSource []partials.Extent

// String names the source.
func (keptSource) String() string { return "kept partial aggregates" }

// Splits packs extents into splits.
func (s keptSource) Splits(ctx context.Context, target int64) (splits []connector.Split, err error) {
	if target <= 0 {
		target = 64 << 20
	}
	lent := map[string]string{}
	for start := 0; start < len(s); {
		size, end := int64(0), start
		var some []partials.Extent
		for ; end < len(s) && size < target; end++ {
			e := s[end]
			if lent[e.Path] == "" {
				if lent[e.Path], err = filesys.Lend(ctx, e.Path); err != nil {
					return nil, err
				}
			}
			e.Path = lent[e.Path]
			size += e.Length
			some = append(some, e)
		}
		data, err := json.Marshal(some)
		if err != nil {
			return nil, err
		}
		splits = append(splits, connector.Split{Label: fmt.Sprintf("kept partial aggregates[%d:%d]", start, end), Bytes: size, Data: data})
		start = end
	}
	return splits, nil
}

// Read emits the groups of a split.
func (s keptSource) Read(ctx context.Context, split connector.Split, r *connector.Reader[group]) error {
	var extents []partials.Extent
	if err := json.Unmarshal(split.Data, &extents); err != nil {
		return err
	}
	var pack filesys.File
	path := ""
	defer func() {
		if pack != nil {
			pack.Close()
		}
	}()
	for _, e := range extents {
		if e.Path != path {
			if pack != nil {
				pack.Close()
			}
			var err error
			if pack, err = filesys.Open(ctx, e.Path, nil, nil); err != nil {
				return err
			}
			path = e.Path
		}
		data, err := e.Read(pack)
		if err != nil {
			return fatal(err)
		}
		groups := int64(0)
		for rest := data; len(rest) > 0; groups++ {
			var key, states []byte
			if key, states, rest, err = partials.NextGroup(rest); err != nil {
				return fatal(err)
			}
			row := group{Key: stringOf(key), Value: stringOf(states)}
			r.Emit(&row)
		}
		r.Add(groups, int64(len(data)))
	}
	return nil
}
