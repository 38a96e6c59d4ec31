package agg

import (
	"bytes"
	"cmp"
	"math"
	"math/big"
	"reflect"
	"slices"
	"testing"
	"unsafe"

	"github.com/layshaft/layshaft/internal/record"
	"pgregory.net/rapid"
)

// item is a record as sources make them: its strings alias a read buffer.
type item struct {
	Brand string
	Price float64
	Units int64
	Tags  []string
}

var anyItem = rapid.Custom(func(t *rapid.T) item {
	i := item{
		Brand: rapid.SampledFrom([]string{"", "a", "b", "ab", "a brand of more than sixteen bytes"}).Draw(t, "brand"),
		Price: rapid.OneOf(rapid.Just(math.NaN()), rapid.Just(2.0), rapid.Float64Range(-9, 9)).Draw(t, "price"),
		Units: rapid.Int64Range(-3, 3).Draw(t, "units"),
	}
	if i.Brand != "" {
		i.Tags = []string{i.Brand, i.Brand[1:]}
	}
	return i
})

// drawItems draws the length separately, because rapid rarely draws long slices.
func drawItems(t *rapid.T) []item {
	n := rapid.SampledFrom([]int{0, 1, 2, 5, 20, 70}).Draw(t, "n")
	return rapid.SliceOfN(anyItem, n, n).Draw(t, "items")
}

// aliased returns items whose strings lie in a buffer, and the buffer.
func aliased(items []item) ([]item, []byte) {
	var buf []byte
	for _, i := range items {
		buf = append(buf, i.Brand...)
	}
	items = slices.Clone(items)
	off := 0
	for n := range items {
		i := &items[n]
		i.Brand = unsafe.String(unsafe.SliceData(buf[off:]), len(i.Brand))
		off += len(i.Brand)
		if i.Tags != nil {
			i.Tags = []string{i.Brand, i.Brand[1:]}
		}
	}
	return items, buf
}

// foldAny folds items cut into parts and merged in a random grouping, some of the accumulators
// through the codec.
func foldAny[T, A, R any](t *rapid.T, agg Agg[T, A, R], items []T) *A {
	codec, err := record.For[A]()
	if err != nil {
		t.Fatal(err)
	}
	var fold func(items []T, depth int) *A
	fold = func(items []T, depth int) *A {
		a := new(A)
		if depth < 5 && rapid.Bool().Draw(t, "cut") {
			at := rapid.IntRange(0, len(items)).Draw(t, "at")
			a = fold(items[:at], depth+1)
			agg.Merge(a, fold(items[at:], depth+1))
		} else {
			for _, v := range items {
				agg.Add(a, v)
			}
		}
		if agg.Size != nil && agg.Size(a) < 0 {
			t.Fatalf("Size = %d", agg.Size(a))
		}
		if rapid.Bool().Draw(t, "move") {
			b := new(A)
			if rest, err := codec.Decode(codec.Append(nil, a), b); err != nil || len(rest) > 0 {
				t.Fatalf("decode: %v, %d bytes left", err, len(rest))
			}
			return b
		}
		return a
	}
	return fold(items, 0)
}

// checkAgg compares agg with a model that sees all items at once. The read buffer is overwritten
// before the result is taken.
func checkAgg[A, R any](agg Agg[item, A, R], model func([]item) R) func(*testing.T) {
	return func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			items := drawItems(t)
			read, buf := aliased(items)
			a := foldAny(t, agg, read)
			clear(buf)
			got, want := agg.Result(a), model(items)
			if !equalBits(reflect.ValueOf(got), reflect.ValueOf(want)) {
				t.Fatalf("result = %+v, want %+v", got, want)
			}
		})
	}
}

// equalBits is reflect.DeepEqual, except that NaN equals NaN and nil slices equal empty slices.
func equalBits(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.Float64:
		return a.Float() == b.Float() || a.Float() != a.Float() && b.Float() != b.Float()
	case reflect.Struct:
		for i := range a.NumField() {
			if !equalBits(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Slice:
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !equalBits(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	}
	return a.Interface() == b.Interface()
}

func brandOf(i item) string  { return i.Brand }
func priceOf(i item) float64 { return i.Price }
func unitsOf(i item) int64   { return i.Units }

// ranked returns the items with a number as price, in the order of compare; equal items stay in
// input order.
func ranked(items []item, compare func(a, b float64) int) []item {
	items = slices.DeleteFunc(slices.Clone(items), func(i item) bool { return i.Price != i.Price })
	slices.SortStableFunc(items, func(a, b item) int { return compare(a.Price, b.Price) })
	return items
}

func descending(a, b float64) int { return cmp.Compare(b, a) }

func firstOf[T any](items []T) (m Maybe[T]) {
	if len(items) > 0 {
		m = Maybe[T]{items[0], true}
	}
	return m
}

func TestAggregates(t *testing.T) {
	distinct := func(items []item) int64 {
		seen := map[string]bool{}
		for _, i := range items {
			seen[i.Brand] = true
		}
		return int64(len(seen))
	}
	sum := func(items []item) (n int64) {
		for _, i := range items {
			n += i.Units
		}
		return n
	}
	last := func(items []item) Maybe[item] {
		items = slices.Clone(items)
		slices.Reverse(items)
		return firstOf(items)
	}
	top := func(k int) func(items []item) []item {
		return func(items []item) []item {
			items = ranked(items, descending)
			return items[:min(k, len(items))]
		}
	}
	t.Run("Count", checkAgg(Count[item](), func(items []item) int64 { return int64(len(items)) }))
	t.Run("Sum", checkAgg(Sum(unitsOf), sum))
	t.Run("Sum wraps", checkAgg(Sum(func(i item) int8 { return int8(100 * i.Units) }),
		func(items []item) int8 { return int8(100 * sum(items)) }))
	t.Run("Sum unsigned", checkAgg(Sum(func(i item) uint16 { return uint16(i.Units) }),
		func(items []item) uint16 { return uint16(sum(items)) }))
	t.Run("Mean", checkAgg(Mean(unitsOf), func(items []item) float64 { return float64(sum(items)) / float64(len(items)) }))
	t.Run("Min", checkAgg(Min(priceOf), func(items []item) (m Maybe[float64]) {
		if best := firstOf(ranked(items, cmp.Compare)); best.OK {
			m = Maybe[float64]{best.Value.Price, true}
		}
		return m
	}))
	t.Run("Max", checkAgg(Max(brandOf), func(items []item) (m Maybe[string]) {
		for _, i := range items {
			m = Maybe[string]{max(m.Value, i.Brand), true}
		}
		return m
	}))
	t.Run("MinBy", checkAgg(MinBy(priceOf), func(items []item) Maybe[item] { return firstOf(ranked(items, cmp.Compare)) }))
	t.Run("MaxBy", checkAgg(MaxBy(priceOf), func(items []item) Maybe[item] { return firstOf(ranked(items, descending)) }))
	t.Run("MaxBy string", checkAgg(MaxBy(brandOf), func(items []item) Maybe[item] {
		items = slices.Clone(items)
		slices.SortStableFunc(items, func(a, b item) int { return cmp.Compare(b.Brand, a.Brand) })
		return firstOf(items)
	}))
	t.Run("TopK", checkAgg(TopK(5, priceOf), top(5)))
	t.Run("TopK 1", checkAgg(TopK(1, priceOf), top(1)))
	t.Run("TopK 0", checkAgg(TopK(0, priceOf), top(0)))
	t.Run("First", checkAgg(First[item](), firstOf[item]))
	t.Run("Any", checkAgg(Any[item](), firstOf[item]))
	t.Run("Last", checkAgg(Last[item](), last))
	t.Run("CollectList", checkAgg(CollectList[item](7), func(items []item) []item { return items[:min(7, len(items))] }))
	t.Run("CollectList 0", checkAgg(CollectList[item](-1), func([]item) []item { return nil }))
	t.Run("CountDistinct", checkAgg(CountDistinct(brandOf), distinct))
	t.Run("CountDistinctApprox", checkAgg(CountDistinctApprox(brandOf), distinct))
	t.Run("Quantiles", checkAgg(Where(Quantiles(priceOf, 0, 0.5, 1), func(i item) bool { return i.Price == 2 || i.Price == -9 }),
		func(items []item) []float64 {
			kept := slices.DeleteFunc(slices.Clone(items), func(i item) bool { return i.Price != 2 && i.Price != -9 })
			kept = ranked(kept, cmp.Compare)
			if len(kept) == 0 {
				return []float64{math.NaN(), math.NaN(), math.NaN()}
			}
			return []float64{kept[0].Price, kept[(len(kept)-1)/2].Price, kept[len(kept)-1].Price}
		}))
	t.Run("Histogram", checkAgg(Histogram(priceOf, 2, -1, 5, 2), func(items []item) []int64 {
		counts := make([]int64, 5)
		for _, i := range items {
			switch {
			case i.Price != i.Price:
			case i.Price < -1:
				counts[0]++
			case i.Price < 2:
				counts[1]++
			case i.Price < 5:
				counts[3]++ // no number lies from 2 up to 2
			default:
				counts[4]++
			}
		}
		return counts
	}))
	t.Run("Histogram without bounds", checkAgg(Histogram(func(i item) float64 { return float64(i.Units) }),
		func(items []item) []int64 { return []int64{int64(len(items))} }))
	t.Run("Compose", checkAgg(
		Compose6(Count[item](), Sum(unitsOf), CountDistinct(brandOf), First[item](), TopK(2, priceOf),
			Compose2(Last[item](), Where(Count[item](), func(i item) bool { return i.Units > 0 }), bothOf),
			func(n, sum, brands int64, first Maybe[item], top []item, more []any) []any {
				return []any{n, sum, brands, first.Value.Brand, len(top), more[0], more[1]}
			}),
		func(items []item) []any {
			var sold int64
			for _, i := range items {
				if i.Units > 0 {
					sold++
				}
			}
			return []any{int64(len(items)), sum(items), distinct(items), firstOf(items).Value.Brand, len(top(2)(items)), last(items).Value.Brand, sold}
		}))
}

func bothOf(a Maybe[item], b int64) []any { return []any{a.Value.Brand, b} }

// TestComposeParts uses a different aggregate at every position of every ComposeN.
func TestComposeParts(t *testing.T) {
	at := func(digit int64) Agg[int64, Total[int64], int64] {
		return Sum(func(v int64) int64 { return v * digit })
	}
	run := func(agg interface{ fold() (int64, bool) }, want int64) {
		t.Helper()
		if got, sized := agg.fold(); got != want || sized {
			t.Errorf("%T: result %d, sized %v; want %d, false", agg, got, sized, want)
		}
	}
	run(twice[Acc2[Total[int64], Total[int64]]](Compose2(at(1), at(10), func(a, b int64) int64 { return a + b })), 2*11)
	run(twice[Acc3[Total[int64], Total[int64], Total[int64]]](Compose3(at(1), at(10), at(100),
		func(a, b, c int64) int64 { return a + 2*b + 3*c })), 2*321)
	run(twice[Acc4[Total[int64], Total[int64], Total[int64], Total[int64]]](Compose4(at(1), at(10), at(100), at(1000),
		func(a, b, c, d int64) int64 { return a + 2*b + 3*c + 4*d })), 2*4321)
	run(twice[Acc5[Total[int64], Total[int64], Total[int64], Total[int64], Total[int64]]](
		Compose5(at(1), at(10), at(100), at(1000), at(10000),
			func(a, b, c, d, e int64) int64 { return a + 2*b + 3*c + 4*d + 5*e })), 2*54321)
	run(twice[Acc6[Total[int64], Total[int64], Total[int64], Total[int64], Total[int64], Total[int64]]](
		Compose6(at(1), at(10), at(100), at(1000), at(10000), at(100000),
			func(a, b, c, d, e, f int64) int64 { return a + 2*b + 3*c + 4*d + 5*e + 6*f })), 2*654321)
}

// twice folds the number 1 in two accumulators and merges them.
type twice[A any] Agg[int64, A, int64]

func (agg twice[A]) fold() (result int64, sized bool) {
	a, b := new(A), new(A)
	agg.Add(a, 1)
	agg.Add(b, 1)
	agg.Merge(a, b)
	return agg.Result(a), agg.Size != nil
}

// TestComposeSize checks Size of a composition: the sum of all sizes, or nil if no accumulator has
// pointers or one has no Size.
func TestComposeSize(t *testing.T) {
	both := func(a, b int64) int64 { return a + b }
	if agg := Compose2(Count[string](), Count[string](), both); agg.Size != nil {
		t.Error("numbers alone have a Size")
	}
	unknown := Agg[string, []byte, int64]{Add: func(a *[]byte, v string) { *a = append(*a, v...) }}
	if agg := Compose2(Count[string](), unknown, both); agg.Size != nil {
		t.Error("a part that does not know its Size does not show")
	}
	agg := Compose2(CountDistinct(func(s string) string { return s }), Count[string](), both)
	var a Acc2[Set[string], int64]
	agg.Add(&a, "x")
	if got, want := agg.Size(&a), a.A.Size(); got != want || got == 0 {
		t.Errorf("Size = %d, want %d", got, want)
	}
}

// TestTotalExact compares float sums with exact ones.
func TestTotalExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{0, 1, 2, 10, 200}).Draw(t, "n")
		xs := rapid.SliceOfN(rapid.OneOf(rapid.Float64Range(-1e9, 1e9), rapid.Float64Range(-1e-9, 1e-9)), n, n).Draw(t, "xs")
		exact := new(big.Float).SetPrec(2000)
		magnitude := 0.0
		for _, x := range xs {
			exact.Add(exact, big.NewFloat(x))
			magnitude += math.Abs(x)
		}
		got := foldAny(t, Sum(func(x float64) float64 { return x }), xs).Sum()
		want, _ := exact.Float64()
		off, _ := new(big.Float).Sub(exact, big.NewFloat(got)).Float64()
		// One rounding to the result, and one of twice the precision per addition.
		if bound := math.Abs(want)*0x1p-53 + magnitude*0x1p-95; math.Abs(off) > bound {
			t.Fatalf("sum = %v, want %v: off by %v, more than %v", got, want, off, bound)
		}
	})
}

func TestTotalSpecial(t *testing.T) {
	inf := math.Inf(1)
	for _, c := range []struct {
		in   []float64
		want float64
	}{
		{nil, 0},
		{[]float64{inf, 1, 2}, inf},
		{[]float64{1, -inf, 2}, -inf},
		{[]float64{inf, 1, -inf}, math.NaN()},
		{[]float64{1, math.NaN(), 2}, math.NaN()},
		{[]float64{math.MaxFloat64, math.MaxFloat64}, inf},
		{[]float64{1e100, 1, -1e100}, 1},
	} {
		var a, b, merged Total[float64]
		for i, x := range c.in {
			a.Add(x)
			if i == 0 {
				merged.Add(x)
			} else {
				b.Add(x)
			}
		}
		merged.Merge(&b)
		for _, got := range []float64{a.Sum(), merged.Sum()} {
			if got != c.want && (got == got || c.want == c.want) {
				t.Errorf("sum of %v = %v, want %v", c.in, got, c.want)
			}
		}
	}
}

func TestMinMaxBest(t *testing.T) {
	buf := []byte("bca")
	var m, empty, other MinMax[string]
	for i := range buf {
		m.Add(unsafe.String(&buf[i], 1))
	}
	clear(buf)
	m.Merge(&empty)
	empty.Merge(&m)
	other.Add("d")
	empty.Merge(&other)
	if want := (MinMax[string]{"a", "d", true}); empty != want {
		t.Errorf("MinMax = %v, want %v", empty, want)
	}
	var f MinMax[float64]
	f.Add(math.NaN())
	f.Add(1)
	f.Add(math.NaN())
	if want := (MinMax[float64]{1, 1, true}); f != want {
		t.Errorf("MinMax = %v, want %v", f, want)
	}
	buf = []byte("xy")
	var best Best[string, string]
	best.AddMax(unsafe.String(&buf[0], 1), unsafe.String(&buf[1], 1))
	clear(buf)
	if want := (Best[string, string]{"x", "y", true}); best != want {
		t.Errorf("Best = %+v, want %+v", best, want)
	}
	if got := (Maybe[int]{}).Or(3) + (Maybe[int]{4, true}).Or(3); got != 7 {
		t.Errorf("Or gives %d, want 7", got)
	}
}

// TestKeptSize checks that Held equals the bytes of all kept strings and slices after many
// replacements.
func TestKeptSize(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		items := drawItems(t)
		top := foldAny(t, TopK(3, priceOf), items)
		list := foldAny(t, CollectList[item](3), items)
		var want TopN[item, float64]
		for i := range top.Items {
			want.Held += heldBytes(&top.Items[i])
		}
		if top.Held != want.Held {
			t.Fatalf("TopN: Held = %d, want %d", top.Held, want.Held)
		}
		held := 0
		for i := range list.Items {
			held += heldBytes(&list.Items[i])
		}
		if list.Held != held {
			t.Fatalf("List: Held = %d, want %d", list.Held, held)
		}
	})
}

// TestEncodedSets checks that the engine's codec uses the encodings of containers inside a user's
// accumulator.
func TestEncodedSets(t *testing.T) {
	type acc struct {
		N      int64
		Brands Set[string]
		About  ApproxSet[int64]
		Prices QuantileSketch
	}
	codec, err := record.For[acc]()
	if err != nil {
		t.Fatal(err)
	}
	var x, y acc
	for i := range 1000 {
		x.Brands.Add(string(rune('a' + i)))
		x.About.Add(int64(i))
		x.Prices.Add(float64(i))
		y.Brands.Add(string(rune('a' + 999 - i)))
		y.About.Add(int64(999 - i))
		y.Prices.Add(float64(999 - i))
	}
	enc := codec.Append(nil, &x)
	if !bytes.Equal(enc, codec.Append(nil, &y)) {
		t.Error("the order of additions shows in the encoding")
	}
	var z acc
	if _, err := codec.Decode(enc, &z); err != nil || z.Brands.Len() != 1000 || z.Prices.Quantile(1) != 999 || z.About.Len() != x.About.Len() {
		t.Errorf("decoded accumulator differs: %v", err)
	}
}
