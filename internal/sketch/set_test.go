package sketch

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

type color uint8

type product struct {
	Brand string
	_     int // == does not look at it
	Year  int16
	Tags  [2]string
	color color
	Score float32
}

// stringKeys are short and alike, so that they meet, with every length around the limits of a slot.
var stringKeys = rapid.Custom(func(t *rapid.T) string {
	n := rapid.SampledFrom([]int{0, 1, 2, 3, 4, 5, 7, 8, 9, 14, 15, 16, 17, 40, 130}).Draw(t, "len")
	b := bytes.Repeat([]byte{'a'}, n)
	for range rapid.IntRange(0, 2).Draw(t, "edits") {
		if n > 0 {
			b[rapid.IntRange(0, n-1).Draw(t, "at")] = rapid.SampledFrom([]byte{0, 'b', 0xff}).Draw(t, "byte")
		}
	}
	return string(b)
})

// TestSet compares sets with Go's maps over random additions, merges and moves through the
// encoding.
func TestSet(t *testing.T) {
	t.Run("string", testSet(stringKeys, strings.Compare))
	t.Run("int", testSet(rapid.SampledFrom([]int{math.MinInt, -300, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 1 << 40, math.MaxInt}), cmp.Compare))
	t.Run("many ints", testSet(rapid.IntRange(-1000, 1000), cmp.Compare))
	t.Run("int8", testSet(rapid.Int8(), cmp.Compare))
	t.Run("uint64", testSet(rapid.Uint64Range(0, 50), cmp.Compare))
	t.Run("named", testSet(rapid.Map(rapid.Uint8(), func(x uint8) color { return color(x) }), cmp.Compare))
	t.Run("bool", testSet(rapid.Bool(), nil))
	t.Run("float32", testSet(rapid.Float32Range(-3, 3), cmp.Compare))
	t.Run("float64", testSet(rapid.SampledFrom([]float64{math.Inf(-1), -2, -1e-310, 0, 1e-310, 1, 2, math.Inf(1)}), cmp.Compare))
	t.Run("array", testSet(rapid.Map(stringKeys, func(s string) (k [20]byte) { copy(k[:], s); return k }), nil))
	t.Run("complex", testSet(rapid.Map(rapid.Float64Range(-3, 3), func(x float64) complex128 { return complex(x, -x) }), nil))
	t.Run("empty struct", testSet(rapid.Just(struct{}{}), nil))
	t.Run("struct", testSet(rapid.Custom(func(t *rapid.T) product {
		s := stringKeys.Draw(t, "s")
		return product{Brand: s, Year: rapid.Int16().Draw(t, "year"), Tags: [2]string{"", s}, color: 7, Score: -1.5}
	}), nil))
}

func testSet[K comparable](keys *rapid.Generator[K], compare func(a, b K) int) func(*testing.T) {
	return func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			var sets [3]Set[K]
			var models [3]map[K]bool
			for i := range models {
				models[i] = map[K]bool{}
			}
			which := rapid.IntRange(0, 2)
			for range rapid.IntRange(0, 30).Draw(t, "steps") {
				i := which.Draw(t, "set")
				switch rapid.IntRange(0, 4).Draw(t, "step") {
				case 0:
					j := (i + 1) % 3
					sets[i].Merge(&sets[j])
					maps.Copy(models[i], models[j])
					clear(models[j])
				case 1:
					sets[i] = moved(t, sets[i])
				default:
					n := rapid.SampledFrom([]int{0, 1, 3, 40}).Draw(t, "n")
					for _, k := range rapid.SliceOfN(keys, n, n).Draw(t, "keys") {
						if got := sets[i].Has(k); got != models[i][k] {
							t.Fatalf("Has(%v) = %v", k, got)
						}
						sets[i].Add(k)
						models[i][k] = true
					}
				}
			}
			for i := range sets {
				checkSet(t, &sets[i], models[i], compare)
			}
		})
	}
}

// moved returns a copy of s that went through the encoding.
func moved[K comparable](t *rapid.T, s Set[K]) (c Set[K]) {
	b, err := s.AppendBinary([]byte("head"))
	if err != nil || string(b[:4]) != "head" {
		t.Fatalf("AppendBinary = %q, %v", b, err)
	}
	c.Add(*new(K)) // decoding replaces
	if err := c.UnmarshalBinary(b[4:]); err != nil {
		t.Fatal(err)
	}
	clear(b) // and copies
	return c
}

func checkSet[K comparable](t *rapid.T, s *Set[K], model map[K]bool, compare func(a, b K) int) {
	all := slices.Collect(s.All())
	if s.Len() != len(model) || len(all) != len(model) {
		t.Fatalf("Len = %d, All gives %d keys, want %d", s.Len(), len(all), len(model))
	}
	for _, k := range all {
		if !model[k] {
			t.Fatalf("All gives %v", k)
		}
	}
	if compare != nil && !slices.IsSortedFunc(all, compare) {
		t.Fatalf("All is out of order: %v", all)
	}
	for range s.All() {
		break // must not panic
	}
	var other Set[K]
	for k := range model { // in another order
		other.Add(k)
	}
	x, _ := s.AppendBinary(nil)
	y, _ := other.AppendBinary(nil)
	if !bytes.Equal(x, y) {
		t.Fatalf("encodings of equal sets differ:\n%q\n%q", x, y)
	}
	if got := s.Size(); got < len(x) && got < 8*len(model) {
		t.Fatalf("Size = %d for %d encoded bytes", got, len(x))
	}
}

func TestSetFloats(t *testing.T) {
	var s Set[float64]
	for _, x := range []float64{math.NaN(), -math.NaN(), 0, math.Copysign(0, -1)} {
		s.Add(x)
	}
	var pairs Set[[2]float32]
	pairs.Add([2]float32{0, float32(math.NaN())})
	pairs.Add([2]float32{float32(math.Copysign(0, -1)), -float32(math.NaN())})
	if s.Len() != 2 || pairs.Len() != 1 {
		t.Errorf("Len = %d and %d, want 2 and 1: NaN equals NaN, -0 equals 0", s.Len(), pairs.Len())
	}
}

// TestSetCopies makes sure that keys are copied: the strings of a record may share one large
// buffer.
func TestSetCopies(t *testing.T) {
	buf := []byte("abc and a key that does not fit a slot")
	var s Set[string]
	s.Add(viewOf(buf[:3]))
	s.Add(viewOf(buf))
	clear(buf)
	if !s.Has("abc") || !s.Has("abc and a key that does not fit a slot") {
		t.Error("the set changed with the buffer")
	}
}

func TestSetRefusesKeys(t *testing.T) {
	type bad struct{ In struct{ P [2]*int } }
	var s Set[bad]
	const want = "key sketch.bad.In.P[] is of type *int; keys may contain only strings, numbers and bools"
	if _, err := s.AppendBinary(nil); err == nil || err.Error() != want {
		t.Errorf("AppendBinary: %v, want %s", err, want)
	}
	if err := s.UnmarshalBinary(nil); err == nil || err.Error() != want {
		t.Errorf("UnmarshalBinary: %v, want %s", err, want)
	}
	defer func() {
		if r := recover(); fmt.Sprint(r) != want {
			t.Errorf("Add panics with %v, want %s", r, want)
		}
	}()
	s.Add(bad{})
}

func FuzzSet(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x00\x01a\x0fabcdefghijklmno\x10abcdefghijklmnop"))
	f.Add([]byte("\x01b\x01a"))
	f.Add([]byte("\x81\x00a"))
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Add([]byte{4, 3, 'a', 'b', 'c', 20, 8, 1, 'x', 0, 1, 7, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzSet[string](t, data)
		fuzzSet[product](t, data)
		fuzzSet[int16](t, data)
		fuzzSet[uint64](t, data)
		fuzzSet[float32](t, data)
		fuzzSet[bool](t, data)
	})
}

func fuzzSet[K comparable](t *testing.T, data []byte) {
	var s Set[K]
	if s.UnmarshalBinary(data) != nil {
		return
	}
	if again, err := s.AppendBinary(nil); err != nil || !bytes.Equal(again, data) {
		t.Fatalf("%T: %q becomes %q, %v", s, data, again, err)
	}
	if max := 256 + 32*len(data); s.Size() > max {
		t.Fatalf("%T: %d bytes take %d", s, len(data), s.Size())
	}
	all := slices.Collect(s.All())
	for _, k := range all {
		if s.Add(k); !s.Has(k) {
			t.Fatalf("%T: %v is missing", s, k)
		}
	}
	if s.Len() != len(all) {
		t.Fatalf("%T: %d keys, want %d", s, s.Len(), len(all))
	}
}

// Keys wait in large sets, so reads between the additions must see them.
func TestLargeSetsAgainstModel(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 0))
		var numbers [3]Set[int64]
		var words [3]Set[string]
		model := [3]map[int64]bool{{}, {}, {}}
		word := func(n int64) string { return fmt.Sprintf("%0*d", 1+n%21, n) }
		for step := range 30_000 {
			i, n := r.IntN(2), r.Int64N(5000)
			switch {
			case step%5000 == 4999: // merge a copy into the third
				for k := range model[i] {
					model[2][k] = true
				}
				numbers[2].Merge(copyOf(t, &numbers[i]))
				words[2].Merge(copyOf(t, &words[i]))
				i = 2
			case r.IntN(10) > 0:
				numbers[i].Add(n)
				words[i].Add(word(n))
				model[i][n] = true
				continue
			}
			if numbers[i].Has(n) != model[i][n] || words[i].Has(word(n)) != model[i][n] {
				t.Fatalf("seed %d, step %d: Has(%d) is not %v", seed, step, n, model[i][n])
			}
			if numbers[i].Len() != len(model[i]) || words[i].Len() != len(model[i]) {
				t.Fatalf("seed %d, step %d: %d numbers and %d words, want %d", seed, step, numbers[i].Len(), words[i].Len(), len(model[i]))
			}
		}
		for i := range model {
			if got, want := slices.Collect(numbers[i].All()), slices.Sorted(maps.Keys(model[i])); !slices.Equal(got, want) {
				t.Fatalf("seed %d: %d numbers, want %d, or another order", seed, len(got), len(want))
			}
		}
	}
}

// Very large sets are lists until somebody asks for a key. Whatever was done before, a set encodes
// like one that got its keys in another way.
func TestVeryLargeSetsAgainstModel(t *testing.T) {
	const domain = 4 * maxSlots
	for seed := range uint64(3) {
		r := rand.New(rand.NewPCG(seed, 0))
		word := func(n int64) string { return fmt.Sprintf("%0*d", 1+n%21, n) }
		var numbers, others Set[int64]
		var words, otherWords Set[string]
		model, other := map[int64]bool{}, map[int64]bool{}
		for step := range 8 {
			for range r.IntN(maxSlots) {
				n := r.Int64N(domain) * r.Int64N(2)
				if r.IntN(3) == 0 {
					others.Add(n)
					otherWords.Add(word(n))
					other[n] = true
					continue
				}
				numbers.Add(n)
				words.Add(word(n))
				model[n] = true
			}
			if step%3 == 2 {
				maps.Copy(model, other)
				numbers.Merge(copyOf(t, &others))
				words.Merge(&otherWords)
				other, others = map[int64]bool{}, Set[int64]{}
			}
			for i := range r.IntN(9) * int(seed) / 2 { // early reads
				numbers.Add(int64(domain + i))
				words.Add(word(int64(domain + i)))
				model[int64(domain+i)] = true
				if numbers.Len() != len(model) || words.Len() != len(model) {
					t.Fatalf("seed %d, step %d: %d numbers and %d words, want %d", seed, step, numbers.Len(), words.Len(), len(model))
				}
			}
		}
		if seed == 0 && (numbers.t.list == nil || words.t.list == nil) {
			t.Error("the sets of the first seed are no lists")
		}
		ordered := slices.Sorted(maps.Keys(model))
		all := make([]string, len(ordered))
		for i, n := range ordered {
			all[i] = word(n)
		}
		slices.Sort(all)
		if !slices.Equal(slices.Collect(numbers.All()), ordered) || !slices.Equal(slices.Collect(words.All()), all) {
			t.Fatalf("seed %d: %d numbers and %d words, want %d, or another order", seed, numbers.Len(), words.Len(), len(model))
		}
		for range 1000 {
			if n := r.Int64N(domain); numbers.Has(n) != model[n] || words.Has(word(n)) != model[n] {
				t.Fatalf("seed %d: Has(%d) is not %v", seed, n, model[n])
			}
		}
		numbers.Add(-1)
		words.Add("-")
		if numbers.Len() != len(model)+1 || words.Len() != len(model)+1 || !numbers.Has(-1) || !words.Has("-") {
			t.Fatalf("seed %d: a key added after Has is missing", seed)
		}
	}
}

// copyOf returns a set with the same keys.
func copyOf[K comparable](t *testing.T, s *Set[K]) *Set[K] {
	t.Helper()
	b, err := s.AppendBinary(nil)
	var c Set[K]
	if err == nil {
		err = c.UnmarshalBinary(b)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &c
}
