package files

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// bzip2Rows is the text of rows in two bzip2 streams, and bzip2Nothing an empty one.
const (
	bzip2Rows    = "QlpoOTFBWSZTWXJfLegAACjZgAAQAAR/4DAAAEAgAEjH4kjfqhqCJ+VAALnFjz3JVVVa3ywSAJJANT4tdNttJJABCiIiIiioAeiUR8XckU4UJByXy3oAQlpoOTFBWSZTWTEdtIkAACfYgAAQAAR/4ABAMACs2IgB/qpoMf4pQDQ5/+pVP9Unqf6qaJdm+t8dkAAAFagAG222222225zkkkkk+/gW2SWgAAW2SWgAAW2SWgAAAAGZivtStVVVVVtUrf1IiI+LuSKcKEgYjtpEgA=="
	bzip2Nothing = "QlpoORdyRThQkAAAAAA="
)

func rows() string {
	var b strings.Builder
	b.WriteString("a,b\n")
	for i := range 50 {
		fmt.Fprintf(&b, "%d,x%d\n", i, i)
	}
	return b.String()
}

func fromBase64(s string) []byte {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func xzOf(t *testing.T, data string) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := xz.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(w, data)
	w.Close()
	return b.Bytes()
}

// readText returns the lines of a file as a source of text reads them.
func readText(t *testing.T, name string, data []byte) (string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	fs, err := ExpandText(context.Background(), []string{path})
	if err != nil {
		return "", err
	}
	splits, err := Splits(context.Background(), fs, 0)
	if err != nil {
		return "", err
	}
	var got []byte
	for _, s := range splits {
		if err := Chunks(context.Background(), s, '\n', func(c Chunk) error { got = append(got, c.Data...); return nil }); err != nil {
			return "", err
		}
	}
	return string(got), nil
}

func TestReadsBzip2AndXz(t *testing.T) {
	two := append(xzOf(t, rows()[:100]), xzOf(t, rows()[100:])...)
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"x.csv.bz2": {fromBase64(bzip2Rows), rows()}, "magic": {fromBase64(bzip2Rows), rows()}, "empty.bz2": {fromBase64(bzip2Nothing), ""},
		"x.csv.xz": {two, rows()}, "xz-magic": {two, rows()}, "empty.xz": {xzOf(t, ""), ""}, "zero.xz": {nil, ""}, "BZh9": {[]byte("BZh9 is text\n"), "BZh9 is text\n"},
	} {
		if got, err := readText(t, name, c.data); err != nil || got != c.want {
			t.Errorf("%s: %.100q, %v", name, got, err)
		}
	}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"cut.bz2":  {fromBase64(bzip2Rows)[:60], "its bzip2 data is damaged, or the file was cut off"},
		"text.bz2": {[]byte("a,b\n"), "bzip2"},
		"cut.xz":   {two[:60], "its xz data is damaged, or the file was cut off"},
		"text.xz":  {[]byte("a,b\n"), "its name has a xz suffix, but it is not a xz file"},
	} {
		if got, err := readText(t, name, c.data); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %.100q, %v", name, got, err)
		}
	}
	for _, path := range []string{"x.csv.bz2", "x.csv.xz"} {
		path = filepath.Join(t.TempDir(), path)
		err := (&One{Path: path, Compress: BySuffix(path)}).Check(context.Background())
		if err == nil || !strings.Contains(err.Error(), "can be read but not written; use the suffix .gz or .zst") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestOtherKindsAreNamed reads files that are not text, alone and within gzip and zstd.
func TestOtherKindsAreNamed(t *testing.T) {
	tar := make([]byte, 1024)
	copy(tar, "dir/data.csv")
	copy(tar[257:], "ustar\x0000")
	wide := func(order int) []byte {
		var b []byte
		for _, u := range utf16.Encode([]rune("a,b\n1,2\n3,4\n")) {
			b = append(b, byte(u>>(8*order)), byte(u>>(8-8*order)))
		}
		return b
	}
	kinds := map[string][]byte{
		"a zip archive":        []byte("PK\x03\x04\x14\x00\x00\x00\x08\x00"),
		"a Parquet file":       []byte("PAR1\x15\x04\x15\x10"),
		"a program (ELF)":      []byte("\x7fELF\x02\x01\x01"),
		"UTF-16 text":          append([]byte("\xff\xfe"), wide(0)...),
		"-f UTF-16LE":          wide(0),
		"-f UTF-16BE":          wide(1),
		"UTF-32 text":          []byte("\xff\xfe\x00\x00a\x00\x00\x00"),
		"a tar archive":        tar,
		"a 7z archive":         []byte("7z\xbc\xaf\x27\x1c\x00\x04"),
		"an Avro file":         []byte("Obj\x01\x04\x16avro"),
		"LZ4 data":             []byte("\x04\x22\x4d\x18\x64"),
		"an old Excel":         []byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\x00"),
		"an HDF5 file":         []byte("\x89HDF\r\n\x1a\n"),
		"a Feather file":       []byte("FEA1\x00\x00\x00\x00"),
		"an ORC file":          []byte("ORC\n\x16\x00\x00"),
		"zero bytes":           make([]byte, 100),
		"lines end with CR":    []byte("a,b\r1,2\r3,4\r"),
		"lines end with CR al": []byte("a,b\r1,2"),
	}
	for want, data := range kinds {
		for _, name := range []string{"plain", "x.gz", "x.zst"} {
			if _, err := readText(t, name, compressed(t, name, data)); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), name) {
				t.Errorf("%s, %s: %v", want, name, err)
			}
		}
	}
	for codec, inner := range map[string][]byte{"gzip": compressed(t, "x.gz", []byte("a\n")), "zstd": compressed(t, "x.zst", []byte("a\n")), "xz": xzOf(t, "a\n"),
		"bzip2": []byte("BZh11AY&SY\x00\x00")} {
		for _, name := range []string{"x.gz", "x.zst"} {
			if _, err := readText(t, name, compressed(t, name, inner)); err == nil || !strings.Contains(err.Error(), "its decompressed content is "+codec+" data, not text; decompress it") {
				t.Errorf("%s in %s: %v", codec, name, err)
			}
		}
	}
	for _, text := range []string{"PAR1,x\n", "ORC\n", "MZ\n", "a\x00b\n", "50%\r100%\n", "a\r", "a\r\r", "x\r\n", "PK\n", "BZh91\n", "FEA1\n", "GIF\n", "\xfe\n", "LZIP\n"} {
		if got, err := readText(t, "x.txt", []byte(text)); err != nil || got != text {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

// compressed compresses data as the suffix of name demands.
func compressed(t *testing.T, name string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	switch BySuffix(name) {
	case Gzip:
		w := gzip.NewWriter(&b)
		w.Write(data)
		w.Close()
	case Zstd:
		w, err := zstd.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(data)
		w.Close()
	default:
		return data
	}
	return b.Bytes()
}
