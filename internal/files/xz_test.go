package files

import (
	"bytes"
	"hash/crc32"
	"io"
	"strings"
	"testing"

	"encoding/binary"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// hugeBlock returns xz data whose block with index n asks for a dictionary of 4 GiB.
func hugeBlock(t *testing.T, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := xz.WriterConfig{BlockSize: 1000, CheckSum: xz.SHA256}.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	for range 40 {
		_, _ = io.WriteString(w, strings.Repeat("some text\n", 11))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	data := b.Bytes()
	for at := 12; ; at++ {
		i := bytes.Index(data[at:], []byte{0x21, 1})
		if i < 0 {
			t.Fatalf("there are no %d blocks", n)
		}
		if at += i; n > 0 {
			n--
			continue
		}
		start := at - 2
		if data[start+1]&0x40 != 0 || data[start] == 0 {
			t.Fatalf("unexpected block header %x", data[start:at+3])
		}
		data[at+2] = 40
		end := start + int(data[start])*4
		binary.LittleEndian.PutUint32(data[end:], crc32.ChecksumIEEE(data[start:end]))
		return data
	}
}

// A header of a few bytes cannot make a reader take gigabytes.
func TestMemoryOfHeaders(t *testing.T) {
	window := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 18 << 3, 0x01, 0x00, 0x00} // 256 MiB, one empty block
	for name, data := range map[string][]byte{"first.xz": hugeBlock(t, 0), "third.xz": hugeBlock(t, 2), "second-stream.xz": append(xzOf(t, "a\n"), hugeBlock(t, 1)...),
		"padded.xz": append(append(xzOf(t, "a\n"), 0, 0, 0, 0), hugeBlock(t, 0)...), "wide.zst": window} {
		got, err := readText(t, name, data)
		if err == nil || !strings.Contains(err.Error(), "it needs too much memory") || !strings.Contains(err.Error(), "the limit is 128.0 MiB") {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	w, err := zstd.NewWriter(nil, zstd.WithWindowSize(maxWindow))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := readText(t, "largest.zst", w.EncodeAll([]byte("a\n"), nil)); err != nil || got != "a\n" {
		t.Errorf("the largest window: %q, %v", got, err)
	}
}

// The guard follows the frame of every stream to its end, in reads of any size.
func TestXzGuardFollows(t *testing.T) {
	var b bytes.Buffer
	block := int64(777)
	if testing.Short() {
		block = 20_000 // each block takes a dictionary of 8 MiB
	}
	for _, c := range []xz.WriterConfig{{BlockSize: block, CheckSum: xz.CRC32}, {NoCheckSum: true}, {BlockSize: 100_000, CheckSum: xz.SHA256}} {
		w, err := c.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(w, rows())
		_, _ = w.Write(bytes.Repeat([]byte{7}, 300_000))
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		b.Write(make([]byte, 8))
	}
	for _, size := range []int{1, 13, 1 << 20} {
		if testing.Short() && size == 1 {
			continue
		}
		g := newXzGuard(bytes.NewReader(b.Bytes()))
		if _, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{g}, make([]byte, size)); err != nil || g.off || g.want != 4 || g.skip != 0 || len(g.got) > 0 {
			t.Errorf("reads of %d: %v, lost %v, wants %d after %d", size, err, g.off, g.want, g.skip)
		}
	}
}
