package files

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// bigFile writes a temporary file of text lines of about 60 bytes.
func bigFile(b *testing.B, size int) string {
	b.Helper()
	var data []byte
	for i := 0; len(data) < size; i++ {
		data = fmt.Appendf(data, "%d the quick brown fox jumps over the lazy dog %d\n", i, i*7)
	}
	path := filepath.Join(b.TempDir(), "big.txt")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}

// BenchmarkChunks reads a file in the page cache by two goroutines. It decides chunkSize.
func BenchmarkChunks(b *testing.B) {
	const size = 256 << 20
	path := bigFile(b, size)
	fs, err := Expand(context.Background(), []string{path})
	if err != nil {
		b.Fatal(err)
	}
	splits, err := Splits(context.Background(), fs, 32<<20)
	if err != nil {
		b.Fatal(err)
	}
	for _, chunk := range []int{64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20, 4 << 20} {
		for _, live := range []int{0, 64 << 20} {
			b.Run(fmt.Sprintf("chunk=%dK/live=%dM", chunk>>10, live>>20), func(b *testing.B) {
				ballast := make([]byte, live)
				b.SetBytes(size)
				for b.Loop() {
					todo := make(chan int, len(splits))
					for i := range splits {
						todo <- i
					}
					close(todo)
					var wg sync.WaitGroup
					for range 2 {
						wg.Go(func() {
							n := 0
							for i := range todo {
								err := eachSlice(context.Background(), splits[i], func(s Slice) error {
									return readChunks(context.Background(), s, byteDelim('\n'), chunk, new(freeBufs), func(c Chunk) error {
										n += len(c.Data)
										return nil
									})
								})
								if err != nil {
									b.Error(err)
								}
							}
						})
					}
					wg.Wait()
				}
				if len(ballast) > 0 {
					ballast[0] = 1
				}
			})
		}
	}
}

// BenchmarkWrite writes a part with and without syncing it, in records of 100 bytes.
func BenchmarkWrite(b *testing.B) {
	const size = 256 << 20
	line := strings.Repeat("x", 99) + "\n"
	for _, noSync := range []bool{true, false} {
		b.Run(fmt.Sprintf("noSync=%v", noSync), func(b *testing.B) {
			ctx, d := context.Background(), &Dir{Path: b.TempDir(), NoSync: noSync}
			b.SetBytes(size)
			for b.Loop() {
				a, err := NewAppender(ctx, d, Task{Job: "j", Attempt: 1}, nil, func(dst []byte, s *string) ([]byte, error) { return append(dst, *s...), nil })
				if err != nil {
					b.Fatal(err)
				}
				for range size / len(line) {
					if err := a.Write(&line); err != nil {
						b.Fatal(err)
					}
				}
				if _, err := a.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSmallFiles opens and reads files of one line each.
func BenchmarkSmallFiles(b *testing.B) {
	for name, text := range map[string]string{"plain": "hello\n", "gzip": gz("hello\n"), "zstd": zst("hello\n", 100)} {
		b.Run(name, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "f")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				b.Fatal(err)
			}
			fs, err := Expand(context.Background(), []string{path})
			if err != nil {
				b.Fatal(err)
			}
			splits, err := Splits(context.Background(), fs, 0)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := Chunks(context.Background(), splits[0], '\n', func(Chunk) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
