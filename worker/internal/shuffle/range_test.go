package shuffle

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
)

func newRand() *rand.Rand { return rand.New(rand.NewPCG(42, 0)) }

// Every record in [lo, hi) is in the blocks returned by Range, and no block lies wholly outside.
func TestRange(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	rng := newRand()
	w := create(t, s, attempt("j", 0, 1))
	var all [][]byte
	for run := range 3 {
		var keys [][]byte
		for range 2000 {
			keys = append(keys, fmt.Appendf(nil, "%03d", rng.IntN(300))) // equal keys cross blocks
		}
		slices.SortFunc(keys, bytes.Compare)
		all = append(all, keys...)
		for chunk := range slices.Chunk(keys, 1+rng.IntN(60)) {
			var b []byte
			for _, k := range chunk {
				b = record.AppendRecord(b, k, bytes.Repeat(k, 10*run))
			}
			if err := w.Append(1, run, 0, b, len(chunk), chunk[0]); err != nil {
				t.Fatal(err)
			}
		}
	}
	m := seal(t, w)
	bounds := [][]byte{nil, {}, []byte("000"), []byte("0005"), []byte("150"), []byte("299"), []byte("3"), nil}
	for i, lo := range bounds[:len(bounds)-1] {
		for _, hi := range bounds[max(1, i):] {
			inside := func(k []byte) bool { return bytes.Compare(k, lo) >= 0 && (hi == nil || bytes.Compare(k, hi) < 0) }
			want := 0
			for _, k := range all {
				if inside(k) {
					want++
				}
			}
			got, records := 0, 0
			for _, r := range s.Range(m, 1, lo, hi) {
				blocks, err := read(r)
				if err != nil {
					t.Fatal(err)
				}
				n := 0
				for _, b := range blocks {
					for len(b) > 0 {
						var k []byte
						if k, _, b, err = record.Cut(b); err != nil {
							t.Fatal(err)
						}
						if n++; inside(k) {
							got++
						}
					}
				}
				if r.Records() != int64(n) {
					t.Errorf("Records = %d, want %d", r.Records(), n)
				}
				records += n
			}
			if got != want {
				t.Errorf("[%q, %q): %d records, want %d", lo, hi, got, want)
			}
			if records > want+3*2*60 {
				t.Errorf("[%q, %q): %d records were read for %d", lo, hi, records, want)
			}
		}
	}
	if runs := s.Range(m, 0, nil, nil); runs != nil {
		t.Errorf("port without output: %d runs", len(runs))
	}
}

func sample(rng *rand.Rand) *job.Manifest {
	m := &job.Manifest{Attempt: attempt("j", 3, 9), Segment: "0-3-9.seg", Sum: rng.Uint64()}
	for i := range rng.IntN(20) {
		e := job.Extent{Port: i / 10, Partition: i / 3, Run: i, Inline: rng.IntN(2) == 0, Offset: rng.Int64N(1 << 40), Bytes: 1 << 30, Records: rng.Int64N(1e6), Raw: rng.Int64N(1 << 50)}
		for j := range rng.IntN(4) {
			e.Blocks = append(e.Blocks, job.Block{Offset: int64(j * 1000), Records: rng.Int64N(99), First: []byte(fmt.Sprint(j))})
		}
		m.Extents = append(m.Extents, e)
	}
	if rng.IntN(2) == 0 {
		m.Counters = map[string]int64{"a": -5, ".records": 1 << 40}
		m.Sink = [][]byte{[]byte("x"), {}}
	}
	return m
}

func TestManifestRoundTrip(t *testing.T) {
	rng := newRand()
	for range 200 {
		want := sample(rng)
		got, err := DecodeManifest(AppendManifest(nil, want))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v, %v; want %+v", got, err, want)
		}
	}
}

func FuzzManifest(f *testing.F) {
	rng := newRand()
	for range 5 {
		b := AppendManifest(nil, sample(rng))
		f.Add(b[:len(b)-4])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		// The checksum would stop the fuzzer.
		m, err := DecodeManifest(append(b[:len(b):len(b)], crc(b)...))
		if err != nil {
			return
		}
		if !slices.IsSortedFunc(m.Extents, func(a, b job.Extent) int { return byPlace(&a, &b) }) {
			t.Error("extents are out of order")
		}
		again, err := DecodeManifest(AppendManifest(nil, m))
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Errorf("%+v does not round-trip: %+v, %v", m, again, err)
		}
		if _, err := DecodeManifest(b); err == nil && cmp.Compare(len(b), 4) > 0 && !bytes.Equal(b[len(b)-4:], crc(b[:len(b)-4])) {
			t.Error("a manifest without its checksum was accepted")
		}
	})
}

func crc(b []byte) []byte {
	v := sealValue(nil, append(make([]byte, 4), b...))
	return v[:4]
}

// A sort of long keys must not put them whole into its manifests.
func TestFirstKeysAreCut(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	w := create(t, s, attempt("j", 0, 1))
	for i := range 10 {
		key := append(bytes.Repeat([]byte{byte(i)}, 100<<10), 1)
		if err := w.Append(0, 0, 0, record.AppendRecord(nil, key, nil), 1, key); err != nil {
			t.Fatal(err)
		}
	}
	m := seal(t, w)
	if n := len(AppendManifest(nil, m)); n > 20<<10 {
		t.Errorf("the manifest of 10 blocks has %d bytes", n)
	}
}
