package files

import (
	"bytes"
	"context"
	"fmt"
)

// headSize is the number of bytes of a file that tell its kind. The mark of tar is at 257.
const headSize = 512

// kinds are formats that text never starts with, by their first bytes.
var kinds = []struct{ magic, name, advice string }{
	{"PK\x03\x04", "a zip archive, or an Excel or Word file", "unpack it, or export its text"},
	{"PK\x05\x06", "an empty zip archive", "unpack it"},
	{"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it"},
	{"Rar!\x1a\x07", "a RAR archive", "unpack it"},
	{"PK\x07\x08", "a zip archive in parts", "unpack it"},
	{"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel or Word file", "export its text"},
	{"MSCF\x00\x00\x00\x00", "a cabinet archive", "unpack it"},
	{"\x04\x22\x4d\x18", "LZ4 data", "decompress it, or compress it with zstd"},
	{"\x02\x21\x4c\x18", "LZ4 data", "decompress it, or compress it with zstd"},
	{"\x89LZO\x00", "lzop data", "decompress it, or compress it with zstd"},
	{"\xff\x06\x00\x00sNaPpY", "snappy data", "decompress it, or compress it with zstd"},
	{"\x5d\x00\x00", "LZMA data", "decompress it, or compress it with xz"},
	{"LZIP\x01", "lzip data", "decompress it, or compress it with xz"},
	{"\x1f\x9d", "compress (.Z) data", "decompress it, or compress it with gzip"},
	{"\xff\xfe\x00\x00", "UTF-32 text", "convert it with iconv -f UTF-32 -t UTF-8"},
	{"\x00\x00\xfe\xff", "UTF-32 text", "convert it with iconv -f UTF-32 -t UTF-8"},
	{"\xff\xfe", "UTF-16 text", "convert it with iconv -f UTF-16 -t UTF-8"},
	{"\xfe\xff", "UTF-16 text", "convert it with iconv -f UTF-16 -t UTF-8"},
	{"ARROW1\x00", "an Arrow file", "write it as Parquet, and read it with parquetio"},
	{"Obj\x01", "an Avro file", "read it with avroio"},
	{"\x89HDF\r\n", "an HDF5 file", "export its tables"},
	{"\x93NUMPY", "a NumPy file", "export it as text or Parquet"},
	{"SQLite format 3\x00", "an SQLite database", "export its tables"},
	{"\x7fELF", "a program (ELF)", "name the data files"},
	{"MZ\x90\x00", "a program of Windows", "name the data files"},
	{"\xcf\xfa\xed\xfe", "a program of macOS", "name the data files"},
	{"\xca\xfe\xba\xbe", "a program of macOS or Java", "name the data files"},
	{"\x00asm", "a program (WebAssembly)", "name the data files"},
	{"%PDF-", "a PDF document", "export its text"},
	{"\x89PNG\r\n", "a PNG image", "name the data files"},
	{"\xff\xd8\xff", "a JPEG image", "name the data files"},
	{"GIF87a", "a GIF image", "name the data files"},
	{"GIF89a", "a GIF image", "name the data files"},
}

// kindOf returns what the first bytes of a file show it to be, and what to do with it. The name is
// empty for anything that may be text.
func kindOf(head []byte) (name, advice string) {
	if c := byMagic(head); c != Plain {
		return c.String() + " data", "decompress it"
	}
	for _, k := range kinds {
		if bytes.HasPrefix(head, []byte(k.magic)) {
			return k.name, k.advice
		}
	}
	// These names could start a text as well, but not with a control character after them.
	control := func(i int) bool {
		return i < len(head) && head[i] < ' ' && !bytes.Contains([]byte("\t\n\r"), head[i:i+1])
	}
	switch {
	case bytes.HasPrefix(head, []byte("PAR1")) && control(4):
		return "a Parquet file", "read it with parquetio"
	case bytes.HasPrefix(head, []byte("FEA1")) && control(4):
		return "a Feather file", "write it as Parquet, and read it with parquetio"
	case bytes.HasPrefix(head, []byte("ORC")) && (control(3) || bytes.IndexByte(head, 0) > 0):
		return "an ORC file", "write it as Parquet, and read it with parquetio"
	case len(head) >= 262 && string(head[257:262]) == "ustar":
		return "a tar archive", "unpack it"
	case bytes.HasPrefix(head, make([]byte, 16)):
		return "zero bytes, as a crash of a machine leaves them", "fetch or write it again"
	case isUTF16(head, 1):
		return "UTF-16 text", "convert it with iconv -f UTF-16LE -t UTF-8"
	case isUTF16(head, 0):
		return "UTF-16 text", "convert it with iconv -f UTF-16BE -t UTF-8"
	}
	return "", ""
}

// NotParquet is the error for a file that cannot be read as Parquet because of err. It names the
// format of the file if its first bytes show it.
func NotParquet(path string, head []byte, err error) error {
	if name, advice := kindOf(head); name != "" && !bytes.HasPrefix(head, []byte("PAR1")) {
		return fmt.Errorf("%s: it is %s, not Parquet; %s", path, name, advice)
	}
	return fmt.Errorf("%s: not a Parquet file, or damaged: %w", path, err)
}

// isUTF16 reports whether head starts like ASCII in UTF-16, with the zero bytes at zero (0 or 1) of
// each pair.
func isUTF16(head []byte, zero int) bool {
	if len(head) < 16 {
		return false
	}
	for i := 0; i < 16; i += 2 {
		if c := head[i+1-zero]; head[i+zero] != 0 || c < '\t' || c >= 0x7f {
			return false
		}
	}
	return true
}

// errKind describes a file of another kind than text. codec is the compression around it.
func errKind(path string, codec Codec, name, advice string) error {
	if codec != Plain {
		return fmt.Errorf("%s: its decompressed content is %s, not text; %s", path, name, advice)
	}
	return fmt.Errorf("%s: it is %s, not text; %s", path, name, advice)
}

// checkText refuses the start of a file's decompressed content if it is not text. If isLong is set,
// data is a first chunk of lines or the whole file. Without a line feed but with a CR in it, its
// lines end with CR alone.
func checkText(path string, codec Codec, data []byte, isLong bool) error {
	if name, advice := kindOf(data[:min(len(data), headSize)]); name != "" {
		return errKind(path, codec, name, advice)
	}
	if !isLong || bytes.IndexByte(data, '\n') >= 0 {
		return nil
	}
	if i := bytes.IndexByte(data, '\r'); i >= 0 && len(bytes.Trim(data[i:], "\r")) > 0 {
		return CRError(path)
	}
	return nil
}

// CRError is the error for a file whose lines end with CR alone.
func CRError(path string) error {
	return fmt.Errorf("%s: its lines end with CR alone, as on old Macs, and would be read as one line; convert it with tr '\\r' '\\n'", path)
}

// ExpandText is Expand for text. A file that is not text is an error with its format. What is
// inside compressed files is checked when they are read.
func ExpandText(ctx context.Context, patterns []string) ([]File, error) {
	fs, err := Expand(ctx, patterns)
	if err != nil {
		return nil, err
	}
	for _, f := range fs {
		if err := f.CheckText(); err != nil {
			return nil, err
		}
	}
	return fs, nil
}

// CheckText returns an error with the format of the file if its first bytes show that it is not
// text.
func (f File) CheckText() error {
	if f.Codec == Plain && f.kind != "" {
		return errKind(f.Path, Plain, f.kind, f.advice)
	}
	return nil
}

// errCannotWrite is the error for an output compressed with a codec that can only be read.
func errCannotWrite(path string, c Codec) error {
	if c == Bzip2 || c == Xz {
		return fmt.Errorf("%s: %s can be read but not written; use the suffix .gz or .zst", path, c)
	}
	return nil
}
