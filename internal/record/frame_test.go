package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

// noise returns n bytes that do not compress.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	return b
}

// text returns n bytes that compress to about a third.
func text(n int) []byte {
	rng := rand.New(rand.NewPCG(uint64(n), 2))
	var b []byte
	for len(b) < n {
		b = fmt.Appendf(b, `{"sku":%d,"brand":"brand-%d","price":%d}`, rng.IntN(1e9), rng.IntN(50), rng.IntN(10000))
	}
	return b[:n]
}

func payloads() [][]byte {
	var ps [][]byte
	for _, n := range []int{0, 1, 12, 255, 256, 257, 5000, 64 << 10, 300 << 10, 1 << 20} {
		ps = append(ps, noise(n), text(n), make([]byte, n))
	}
	return ps
}

func TestFrameRoundTrip(t *testing.T) {
	payloads := payloads()
	for _, c := range []Compression{None, S2} {
		var stream []byte
		for _, p := range payloads {
			stream = AppendFrame(stream, p, c)
		}
		rest := stream
		readers := []*FrameReader{
			NewFrameReader(bytes.NewReader(stream), 0, int64(len(stream)), 0),
			NewFrameReader(bytes.NewReader(stream), 0, int64(len(stream)), 1),
			NewFrameReader(bytes.NewReader(stream), 0, int64(len(stream)), 1<<30),
		}
		var kept [][]byte // returned payloads must never change
		for i, want := range payloads {
			var got []byte
			var err error
			if got, rest, err = DecodeFrame(rest); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("compression %d, DecodeFrame %d: %d bytes, %v; want %d", c, i, len(got), err, len(want))
			}
			for _, r := range readers {
				if got, err = r.Next(); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("compression %d, Next %d: %d bytes, %v; want %d", c, i, len(got), err, len(want))
				}
				kept = append(kept, got)
			}
		}
		for i, got := range kept {
			if !bytes.Equal(got, payloads[i/len(readers)]) {
				t.Errorf("compression %d: payload %d changed after it was returned", c, i/len(readers))
			}
		}
		if _, _, err := DecodeFrame(rest); err != io.EOF {
			t.Errorf("DecodeFrame at the end: %v, want EOF", err)
		}
		for _, r := range readers {
			if _, err := r.Next(); err != io.EOF {
				t.Errorf("Next at the end: %v, want EOF", err)
			}
		}
	}
}

// Each way of reading finds every flipped bit and every cut of a stream.
func TestFrameDamage(t *testing.T) {
	stream := AppendFrame(nil, text(300), S2)
	first := len(stream)
	stream = AppendFrame(stream, noise(40), None)
	check := func(what string, b []byte, end int64) {
		t.Helper()
		r := NewFrameReader(bytes.NewReader(b), 0, end, 64)
		var err error
		for err == nil {
			_, err = r.Next()
		}
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "offset") {
			t.Fatalf("%s: FrameReader: %v, want ErrCorrupt with an offset", what, err)
		}
		rest := b
		for err = nil; err == nil; {
			_, rest, err = DecodeFrame(rest)
		}
		if end == int64(len(b)) && !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%s: DecodeFrame: %v, want ErrCorrupt", what, err)
		}
	}
	for i := range len(stream) * 8 {
		b := bytes.Clone(stream)
		b[i/8] ^= 1 << (i % 8)
		check(fmt.Sprintf("bit %d flipped", i), b, int64(len(b)))
	}
	for n := 1; n < len(stream); n++ {
		if n != first {
			check(fmt.Sprintf("cut to %d bytes", n), stream[:n], int64(n))
		}
		check(fmt.Sprintf("file cut to %d bytes", n), stream[:n], int64(len(stream)))
	}
	check("zeros", make([]byte, 100), 100)
}

func TestFrameReadError(t *testing.T) {
	broken := errors.New("disk on fire")
	r := readerAt{iotest.ErrReader(broken)}
	if _, err := NewFrameReader(r, 7, 100, 0).Next(); !errors.Is(err, broken) || errors.Is(err, ErrCorrupt) {
		t.Errorf("Next: %v, want the reader's own error", err)
	}
}

type readerAt struct{ io.Reader }

func (r readerAt) ReadAt(p []byte, _ int64) (int, error) { return r.Read(p) }

// A frame is never longer than its payload and the header, so the payload bounds the size of a
// file.
func TestFrameNeverGrows(t *testing.T) {
	for _, p := range payloads() {
		if got := len(AppendFrame(nil, p, S2)); got > len(p)+FrameOverhead {
			t.Errorf("frame of %d bytes takes %d", len(p), got)
		}
	}
}

func TestAdaptive(t *testing.T) {
	compressed := func(b []byte) bool { return b[8] == byte(S2) }
	var a Adaptive
	tries := 0
	bad := append(noise(7000), make([]byte, 1000)...) // it shrinks, but by too little
	for range 600 {
		if compressed(a.AppendFrame(nil, bad)) {
			tries++
		}
	}
	if tries < 3 || tries > 7 {
		t.Errorf("600 frames that hardly shrink were tried %d times, want a handful", tries)
	}
	streak := 0
	p := text(8000)
	for range 600 {
		if compressed(a.AppendFrame(nil, p)) {
			streak++
		} else {
			streak = 0
		}
	}
	if streak < 300 {
		t.Errorf("after the data changed only the last %d frames are compressed, want 300 or more", streak)
	}
}

func TestFrameAllocations(t *testing.T) {
	p := text(64 << 10)
	var a Adaptive
	dst := a.AppendFrame(nil, p)
	if n := testing.AllocsPerRun(20, func() { dst = a.AppendFrame(dst[:0], p) }); n > 0 {
		t.Errorf("AppendFrame allocates %v times per frame, want 0", n)
	}
	stream := bytes.Repeat(AppendFrame(nil, p, S2), 100)
	r := NewFrameReader(bytes.NewReader(stream), 0, int64(len(stream)), 0)
	if n := testing.AllocsPerRun(50, func() { _, _ = r.Next() }); n > 1 {
		t.Errorf("Next allocates %v times per compressed frame, want 1", n)
	}
}

func FuzzDecodeFrame(f *testing.F) {
	f.Add(AppendFrame(nil, text(500), S2))
	f.Add(AppendFrame(AppendFrame(nil, noise(30), S2), nil, None))
	f.Add(make([]byte, frameHeader))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewFrameReader(bytes.NewReader(b), 0, int64(len(b)), 100)
		rest := b
		for {
			var p1, p2 []byte
			var err1, err2 error
			p1, rest, err1 = DecodeFrame(rest)
			p2, err2 = r.Next()
			if (err1 == nil) != (err2 == nil) || (err1 == io.EOF) != (err2 == io.EOF) {
				t.Fatalf("two ways to read disagree: %v; %v", err1, err2)
			}
			if err1 != nil {
				if err1 != io.EOF && !errors.Is(err1, ErrCorrupt) {
					t.Fatalf("%v is not ErrCorrupt", err1)
				}
				return
			}
			if !bytes.Equal(p1, p2) {
				t.Fatal("two ways to read return different payloads")
			}
		}
	})
}

// FuzzFrameBody passes the checksum, so that even damage accepted by CRC32C does no harm.
func FuzzFrameBody(f *testing.F) {
	f.Add(uint32(500), byte(S2), AppendFrame(nil, text(500), S2)[frameHeader:])
	f.Add(uint32(3), byte(None), []byte("abc"))
	f.Fuzz(func(t *testing.T, raw uint32, codec byte, stored []byte) {
		b := AppendFrame(nil, stored, None)
		b[4], b[5], b[6], b[7], b[8] = byte(raw), byte(raw>>8), byte(raw>>16), byte(raw>>24), codec
		c := checksum(b, b[frameHeader:])
		b[9], b[10], b[11], b[12] = byte(c), byte(c>>8), byte(c>>16), byte(c>>24)
		p, _, err := DecodeFrame(b)
		if err == nil && len(p) != int(raw) || err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%d bytes, %v; the header says %d", len(p), err, raw)
		}
	})
}

func BenchmarkAppendFrame(b *testing.B) {
	for _, c := range []struct {
		name string
		data []byte
		f    func(dst, p []byte) []byte
	}{
		{"none", text(64 << 10), func(dst, p []byte) []byte { return AppendFrame(dst, p, None) }},
		{"s2", text(64 << 10), func(dst, p []byte) []byte { return AppendFrame(dst, p, S2) }},
		{"adaptive/text", text(64 << 10), new(Adaptive).AppendFrame},
		{"adaptive/noise", noise(64 << 10), new(Adaptive).AppendFrame},
	} {
		b.Run(c.name, func(b *testing.B) {
			var dst []byte
			b.SetBytes(int64(len(c.data)))
			b.ReportAllocs()
			for b.Loop() {
				dst = c.f(dst[:0], c.data)
			}
			b.ReportMetric(float64(len(dst))/float64(len(c.data)), "ratio")
		})
	}
}

func BenchmarkFrameReader(b *testing.B) {
	for _, c := range []Compression{None, S2} {
		for _, size := range []int{1 << 10, 64 << 10} {
			b.Run(fmt.Sprintf("compression=%d/size=%d", c, size), func(b *testing.B) {
				frame := AppendFrame(nil, text(size), c)
				stream := bytes.Repeat(frame, max(1, 8<<20/len(frame)))
				b.SetBytes(int64(size))
				b.ReportAllocs()
				r := NewFrameReader(bytes.NewReader(nil), 0, 0, 0)
				for b.Loop() {
					_, err := r.Next()
					if err == io.EOF {
						r = NewFrameReader(bytes.NewReader(stream), 0, int64(len(stream)), 0)
					} else if err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
