package avroio_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/hamba/avro/v2/ocf"

	"github.com/layshaft/layshaft/mapreduce/avroio"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

// productFile returns a file of 60 products in blocks of 20.
func productFile(t testing.TB, codec ocf.CodecName) []byte {
	var b bytes.Buffer
	e, err := ocf.NewEncoder(schema, &b, ocf.WithBlockLength(20), ocf.WithCodec(codec))
	if err != nil {
		t.Fatal(err)
	}
	for i := range int64(60) {
		if err := e.Encode(product(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// FuzzRows reads any bytes as an Avro file.
func FuzzRows(f *testing.F) {
	f.Add(productFile(f, ocf.Null))
	f.Add(productFile(f, ocf.Deflate))
	f.Fuzz(func(t *testing.T, data []byte) { readDamaged(t, data) })
}

// TestRandomDamage changes, removes and repeats bytes of files. A damaged file is an error or has
// other rows; it never panics, and takes no more memory than a file of its size may.
func TestRandomDamage(t *testing.T) {
	seeds := uint64(250)
	if testing.Short() {
		seeds = 25
	}
	for _, codec := range []ocf.CodecName{ocf.Null, ocf.Deflate, ocf.Snappy, ocf.ZStandard} {
		whole := productFile(t, codec)
		if n, err := readDamaged(t, whole); n != 60 || err != nil {
			t.Fatalf("%s: %d rows, %v", codec, n, err)
		}
		for seed := range seeds {
			r := rand.New(rand.NewPCG(seed, 0))
			data := bytes.Clone(whole)
			for range 1 + r.IntN(3) {
				at := r.IntN(len(data))
				switch end := min(len(data), at+1+r.IntN(20)); r.IntN(4) {
				case 0:
					data = append(data[:at:at], data[end:]...)
				case 1:
					data = append(data[:end:end], data[at:]...)
				default:
					data[at] = byte(r.Uint32())
				}
			}
			if readDamaged(t, data); t.Failed() {
				t.Fatalf("%s, seed %d", codec, seed)
			}
		}
	}
}

func readDamaged(t *testing.T, data []byte) (n int, err error) {
	path := filepath.Join(t.TempDir(), "f.avro")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	defer func() {
		if v := recover(); v != nil {
			t.Errorf("panic: %v", v)
		}
		if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 128<<20 {
			t.Errorf("%d bytes allocated for a file of %d bytes", after.TotalAlloc-before.TotalAlloc, len(data))
		}
	}()
	s := avroio.Rows[Product](path)
	splits, err := s.Splits(t.Context(), 1<<20)
	if err != nil {
		return 0, err
	}
	r := connector.NewReader(func(*Product) { n++ }, func(err error, _ []byte) error { return err })
	for _, sp := range splits {
		if err := s.Read(t.Context(), sp, r); err != nil {
			return n, err
		}
	}
	return n, nil
}
