package connector_test

import (
	"context"
	"fmt"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

// Squares is a source of the squares of the numbers below N, in splits of ten numbers.
type Squares struct{ N int }

func (s Squares) String() string { return fmt.Sprintf("squares below %d", s.N) }

func (s Squares) Splits(context.Context, int64) (splits []connector.Split, err error) {
	for first := 0; first < s.N; first += 10 {
		splits = append(splits, connector.Split{Label: fmt.Sprintf("%s from %d", s, first), Bytes: 80, Data: fmt.Append(nil, first)})
	}
	return splits, nil
}

func (s Squares) Read(_ context.Context, split connector.Split, r *connector.Reader[int]) error {
	var first int
	if _, err := fmt.Sscan(string(split.Data), &first); err != nil {
		return err
	}
	for i := first; i < min(first+10, s.N) && !r.Stopped(); i++ {
		r.Path, r.Offset = s.String(), int64(i)
		square := i * i
		r.Emit(&square)
		r.Add(1, 8)
	}
	return nil
}

// A source of your own is a type with three methods.
func ExampleSource() {
	plan := mapreduce.Define("large", func(p *mapreduce.Plan, n int) mapreduce.Dataset[int] {
		return mapreduce.Read(p, Squares{n}).Filter(func(x int) bool { return x > 400 })
	})
	fmt.Println(plan.Collect(context.Background(), mapreduce.Local{}, 25))
	// Output: [441 484 529 576] <nil>
}

// NewReader runs a source in a test of its own.
func ExampleNewReader() {
	s := Squares{25}
	splits, err := s.Splits(context.Background(), 1<<20)
	if err != nil {
		fmt.Println(err)
		return
	}
	var last []int
	r := connector.NewReader(func(x *int) { last = append(last, *x) }, nil)
	fmt.Println(len(splits), s.Read(context.Background(), splits[2], r), last)
	// Output: 3 <nil> [400 441 484 529 576]
}
