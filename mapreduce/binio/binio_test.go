package binio

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce/connector"
)

var (
	_ connector.Source[int] = Source[int]{}
	_ connector.Sink[int]   = Sink[int]{}
)

func readAll[T any](t *testing.T, s connector.Source[T], target int64, bad func(error, []byte) error) []T {
	t.Helper()
	splits, err := s.Splits(context.Background(), target)
	if err != nil {
		t.Fatal(err)
	}
	var out []T
	r := connector.NewReader(func(v *T) { out = append(out, *v) }, bad)
	for _, sp := range splits {
		if err := s.Read(context.Background(), sp, r); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestRecords(t *testing.T) {
	dir := t.TempDir()
	// The first bytes look like gzip, which decides nothing here.
	text := "\x1f\x8b\x08ab-cde-fgh-i\n"
	path := filepath.Join(dir, "f.bin")
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	for target := range int64(20) {
		if got := readAll(t, Records(4, path), target, nil); !slices.Equal(got, []string{text[:4], text[4:8], text[8:12], text[12:]}) {
			t.Errorf("target %d: %q", target, got)
		}
	}
	for size, want := range map[int]string{
		0: "the record size must be between 1 and", -1: "the record size must be between 1 and", 5: path + ": its size, 16 bytes, is not a multiple of the record size 5 (1 byte left over)",
	} {
		if _, err := Records(size, path).Splits(context.Background(), 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("size %d: %v", size, err)
		}
	}
	if got, want := Records(4, "a", "b").String(), `binio.Records(4, "a", "b")`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestRoundTrip(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	encode := func(dst []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(dst, v) }
	odd := errors.New("odd")
	decode := func(b string, v *uint32) error {
		if *v = binary.BigEndian.Uint32([]byte(b)); *v%2 != 0 {
			return odd
		}
		return nil
	}
	for path, s := range map[string]connector.Sink[uint32]{
		"dir": WriteAs(dir+"/dir", encode), "zst": WriteAs(dir+"/zst", encode).Zstd(), "gz": WriteAs(dir+"/gz", encode).Gzip(),
		"one": WriteFileAs(dir+"/one", encode), "one.gz": WriteFileAs(dir+"/one.gz", encode),
	} {
		if err := s.Check(ctx); err != nil {
			t.Fatal(err)
		}
		var parts [][]byte
		for i := range uint32(3) {
			w, err := s.Open(ctx, connector.SinkTask{Job: "j", Index: int(i), Of: 3, Attempt: 1})
			if err != nil {
				t.Fatal(err)
			}
			for v := range uint32(3) {
				v += 100 * i
				if err := w.Write(&v); err != nil {
					t.Fatal(err)
				}
			}
			part, err := w.Close()
			if err != nil {
				t.Fatal(err)
			}
			parts = append(parts, part)
		}
		if err := s.Finish(ctx, "j", parts); err != nil {
			t.Fatal(err)
		}
		bad := 0
		got := readAll(t, RecordsAs(4, decode, filepath.Join(dir, path)), 8, func(err error, raw []byte) error {
			if err != odd || len(raw) != 4 || raw[3]%2 == 0 {
				t.Errorf("bad record %v: %v", raw, err)
			}
			bad++
			return nil
		})
		if !slices.Equal(got, []uint32{0, 2, 100, 102, 200, 202}) || bad != 3 {
			t.Errorf("%s: %v and %d bad ones", s, got, bad)
		}
	}
}

func TestBadRecordEndsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("abcd"), 0o666); err != nil {
		t.Fatal(err)
	}
	boom := errors.New("boom")
	s := RecordsAs(2, func(b string, v *string) error { return boom }, path)
	splits, err := s.Splits(context.Background(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Read(context.Background(), splits[0], connector.NewReader(func(*string) {}, nil)); err != boom {
		t.Error(err)
	}
}

func BenchmarkRecords(b *testing.B) {
	const size = 64 << 20
	path := filepath.Join(b.TempDir(), "f")
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		b.Fatal(err)
	}
	s := Records(64, path)
	splits, err := s.Splits(context.Background(), size)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size)
	n := 0
	r := connector.NewReader(func(*string) { n++ }, nil)
	for b.Loop() {
		for _, sp := range splits {
			if err := s.Read(context.Background(), sp, r); err != nil {
				b.Fatal(err)
			}
		}
	}
}
