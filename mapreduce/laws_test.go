package mapreduce_test

import (
	"bytes"
	"maps"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

// verified reduces values of two keys with f in a verifying run, and returns its notes.
func verified[V any](t *testing.T, f func(a, b V) V, values ...V) (string, error) {
	t.Helper()
	var all []kv[string, V]
	for _, v := range values {
		all = append(all, kv[string, V]{Key: "odd", Value: v}, kv[string, V]{Key: "even", Value: v})
	}
	var out bytes.Buffer
	d := mapreduce.Define("laws", func(p *mapreduce.Plan, _ none) mapreduce.Dataset[kv[string, V]] {
		return mapreduce.ReduceByKey(mapreduce.Read(p, memio.Slice(all)), f)
	})
	_, err := d.Collect(t.Context(), mapreduce.Local{Slots: 2, Verify: true, Reporting: mapreduce.Reporting{Err: &out}}, none{})
	return out.String(), err
}

// TestLaws checks what -verify finds out about functions of ReduceByKey.
func TestLaws(t *testing.T) {
	out, err := verified(t, func(a, b int) int { return a - b }, 5, 3, 1)
	checkError(t, err, "verify: reducebykey at laws_test.go:", "is not associative", "for key odd, with a = 5, b = 3 and c = 1, f(f(a, b), c) is 1 and f(a, f(b, c)) is 3")
	if !strings.Contains(out, "not commutative") {
		t.Errorf("no note: %s", out)
	}
	out, err = verified(t, func(a, b string) string { return a + b }, "x", "y", "z")
	if err != nil || !strings.Contains(out, `is not commutative, so the result depends on the order of the input: for key odd, with a = x and b = y, f(a, b) is xy and f(b, a) is yx`) {
		t.Errorf("%v: %s", err, out)
	}
	if strings.Count(out, "commutative") != 1 {
		t.Errorf("more than one note: %s", out)
	}
	mean := func(a, b float64) float64 { return (a + b) / 2 }
	_, err = verified(t, mean, 1, 2, 4)
	checkError(t, err, "is not associative", "f(f(a, b), c) is 2.75 and f(a, f(b, c)) is 2")

	type sums struct {
		Sum float64
		By  map[string]float64
	}
	merge := func(a, b sums) sums { // rounds differently in another order
		a.Sum += b.Sum
		a.By = maps.Clone(a.By)
		for k, v := range b.By {
			a.By[k] += v
		}
		return a
	}
	one := sums{0.1, map[string]float64{"x": 0.1}}
	if out, err = verified(t, merge, one, sums{0.7, map[string]float64{"y": 0.7}}, sums{1e-3, maps.Clone(one.By)}, sums{0.3, map[string]float64{"y": 0.2}}); err != nil || strings.Contains(out, "commutative") {
		t.Errorf("%v: %s", err, out)
	}
}
