package textio

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

const prose = "the quick brown fox jumps over a lazy dog and never looks back at internationalization\n"

// bigText writes a temporary file of English-like text and returns its path and the number of
// words.
func bigText(b *testing.B, size int) (string, int) {
	b.Helper()
	data := bytes.Repeat([]byte(prose), size/len(prose))
	path := filepath.Join(b.TempDir(), "big.txt")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		b.Fatal(err)
	}
	return path, len(strings.Fields(prose)) * (size / len(prose))
}

// BenchmarkFields measures the splitter alone, over text in the cache, beside strings.Fields.
func BenchmarkFields(b *testing.B) {
	for _, text := range []struct{ name, line string }{
		{"english", prose},
		{"german", strings.ReplaceAll(prose, "o", "ö")},
		{"short", strings.Repeat("a bc def ", 10) + "\n"},
		{"long", strings.Repeat("internationalization-of-everything ", 3) + "\n"},
	} {
		data := bytes.Repeat([]byte(text.line), (128<<10)/len(text.line))
		n := len(bytes.Fields(data))
		b.Run(text.name+"/swar", func(b *testing.B) {
			words := 0
			r := connector.NewReader(func(*string) { words++ }, nil)
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				fields(files.Chunk{Data: data}, r)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/word")
		})
		b.Run(text.name+"/strings.Fields", func(b *testing.B) {
			s := string(data)
			words := 0
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				words += len(strings.Fields(s))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/word")
		})
	}
}

// BenchmarkRead measures whole sources over a file in the page cache, one goroutine.
func BenchmarkRead(b *testing.B) {
	const size = 128 << 20
	path, words := bigText(b, size)
	lines := words / len(strings.Fields(prose))
	for _, x := range []struct {
		source  connector.Source[string]
		records int
	}{{Lines(path), lines}, {Fields(path), words}} {
		splits, err := x.source.Splits(context.Background(), 0)
		if err != nil {
			b.Fatal(err)
		}
		for _, live := range []int{0, 64 << 20} {
			b.Run(fmt.Sprintf("%T/live=%dM", x.source, live>>20), func(b *testing.B) {
				ballast := make([]byte, live)
				n := 0
				r := connector.NewReader(func(*string) { n++ }, nil)
				b.SetBytes(size)
				for b.Loop() {
					n = 0
					for _, s := range splits {
						if err := x.source.Read(context.Background(), s, r); err != nil {
							b.Fatal(err)
						}
					}
					if n != x.records {
						b.Fatalf("%d records, want %d", n, x.records)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/record")
				if live > 0 {
					ballast[0] = 1
				}
			})
		}
	}
}
