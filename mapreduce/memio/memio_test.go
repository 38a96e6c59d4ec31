package memio_test

import (
	"context"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

func readAll[T any](t *testing.T, s connector.Source[T], target int64) (all []T, splits int) {
	t.Helper()
	cut, err := s.Splits(context.Background(), target)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cut {
		r := connector.NewReader(func(v *T) { all = append(all, *v) }, nil)
		if err := s.Read(context.Background(), c, r); err != nil {
			t.Fatal(err)
		}
	}
	return all, len(cut)
}

func TestEverySplittingGivesAllValuesInOrder(t *testing.T) {
	for _, n := range []int64{0, 1, 2, 15, 16, 17, 1000, 17000} {
		want := make([]string, n)
		for i := range want {
			want[i] = fmt.Sprint(i)
		}
		gen := func(i int64) string { return fmt.Sprint(i) }
		for _, target := range []int64{1, 16, 100, 4096, math.MaxInt64} {
			for _, s := range []memio.Source[string]{memio.Slice(want), memio.Generate(n, gen), memio.Of(want...).Cut(7)} {
				got, _ := readAll(t, s, target)
				if !slices.Equal(got, want) {
					t.Errorf("%s, target %d: got %d values, want %d", s, target, len(got), len(want))
				}
			}
		}
	}
}

func TestCut(t *testing.T) {
	for _, c := range []struct{ n, cut, want int }{{10, 3, 3}, {2, 3, 2}, {0, 3, 0}, {999, 0, 1}, {8000, 0, 8}, {100000, 0, 16}} {
		_, got := readAll(t, memio.Slice(make([]int, c.n)).Cut(c.cut), 1<<30)
		if got != c.want {
			t.Errorf("%d values, Cut(%d): %d splits, want %d", c.n, c.cut, got, c.want)
		}
	}
}

func TestEmittedValueIsACopy(t *testing.T) {
	values := []int{1, 2, 3}
	s := memio.Slice(values)
	cut, _ := s.Splits(context.Background(), 1)
	for _, c := range cut {
		if err := s.Read(context.Background(), c, connector.NewReader(func(v *int) { *v = 0 }, nil)); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(values, []int{1, 2, 3}) {
		t.Errorf("values became %v", values)
	}
}

func TestOtherValuesInAnotherProcessAreRefused(t *testing.T) {
	cut, _ := memio.Of(1, 2, 3).Splits(context.Background(), 1<<20)
	for _, other := range []memio.Source[int]{memio.Of(1, 2), memio.Of(1, 2, 4), memio.Generate(2, func(int64) int { return 1 })} {
		err := other.Read(context.Background(), cut[0], connector.NewReader(func(*int) {}, nil))
		if err == nil || !strings.Contains(err.Error(), "parameters alone") {
			t.Errorf("%s read a split of other values: %v", other, err)
		}
	}
	if _, err := memio.Generate(-1, func(int64) int { return 0 }).Splits(context.Background(), 1); err == nil {
		t.Error("a negative number of values was accepted")
	}
}

func TestSeq(t *testing.T) {
	s := memio.Seq(func() iter.Seq[int] { return slices.Values([]int{3, 1, 2}) })
	got, n := readAll(t, s, 1)
	if n != 1 || !slices.Equal(got, []int{3, 1, 2}) {
		t.Errorf("got %v in %d splits", got, n)
	}
}

func ExampleGenerate() {
	s := memio.Generate(3, func(i int64) int { return int(i * i) })
	cut, _ := s.Splits(context.Background(), 1<<20)
	for _, c := range cut {
		_ = s.Read(context.Background(), c, connector.NewReader(func(v *int) { fmt.Println(*v) }, nil))
	}
	// Output:
	// 0
	// 1
	// 4
}
