package child

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"testing"

	"github.com/layshaft/layshaft/internal/job"
)

// endless is a run of n blocks, one and the same.
type endless struct {
	block []byte
	n     int
}

func (r *endless) Next() ([]byte, error) {
	if r.n == 0 {
		return nil, io.EOF
	}
	r.n--
	return r.block, nil
}
func (r *endless) Records() int64 { return 0 }
func (r *endless) Bytes() int64   { return 0 }
func (r *endless) Close() error   { return nil }

type nowhere struct{}

func (nowhere) Append(int, int, int, []byte, int, []byte) error { return nil }

// ballast lets the collector run as seldom as in a real child.
var ballast = make([]byte, 64<<20)

func BenchmarkInput(b *testing.B) {
	defer runtime.KeepAlive(ballast)
	for _, size := range []int{1 << 10, 64 << 10} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			c := pair(b, func(_ context.Context, r *job.Run) error {
				for {
					if _, err := r.Inputs[0][0].Next(); err != nil {
						if err == io.EOF {
							return nil
						}
						return err
					}
				}
			})
			b.SetBytes(int64(size))
			b.ReportAllocs()
			r, _ := newRun()
			r.Inputs = [][]job.RunReader{{&endless{make([]byte, size), b.N}}}
			if err := run(b, c, r); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func BenchmarkOutput(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			block := make([]byte, size)
			n := b.N
			c := pair(b, func(_ context.Context, r *job.Run) error {
				for range n {
					if err := r.Output.Append(0, 0, 0, block, 1, nil); err != nil {
						return err
					}
				}
				return nil
			})
			b.SetBytes(int64(size))
			b.ReportAllocs()
			r, _ := newRun()
			r.Output = nowhere{}
			if err := run(b, c, r); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// An attempt that does nothing, for what each costs.
func BenchmarkAttempt(b *testing.B) {
	c := pair(b, func(context.Context, *job.Run) error { return nil })
	for b.Loop() {
		r, _ := newRun()
		if err := c.Run(b.Context(), Call{Run: r}); err != nil {
			b.Fatal(err)
		}
	}
}
