package scan

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"

	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// avroFile is an open file of Avro: blocks of values, each followed by a mark.
type avroFile struct {
	file  filesys.File
	path  string
	size  int64
	root  *avroNode
	codec string
	mark  [16]byte
	begin int64 // of the mark before the first block
}

// maxAvroBlock is the most bytes of a block.
const maxAvroBlock = 1 << 30

// openAvro opens a file and reads its header.
func openAvro(ctx context.Context, path string, hosts []string, version, size, modTime int64) (a *avroFile, err error) {
	f, err := files.Open(ctx, path, hosts, version)
	if err != nil {
		return nil, err
	}
	a = &avroFile{file: f, path: path, size: size}
	info, err := f.Stat()
	if err == nil {
		err = files.CheckUnchanged(info, path, size, modTime)
	}
	if err == nil {
		if err = a.readHeader(); err != nil {
			err = fmt.Errorf("%s: not an Avro file, or damaged: %w", path, err)
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return a, nil
}

// counter counts the bytes that were read.
type counter struct {
	*bufio.Reader
	n int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n += int64(n)
	return n, err
}

func (c *counter) ReadByte() (byte, error) {
	b, err := c.Reader.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}

func (c *counter) long() (int64, error) {
	u, err := binary.ReadUvarint(c)
	return int64(u>>1) ^ -int64(u&1), err
}

// bytes reads a length and as many bytes, up to limit.
func (c *counter) bytes(limit int64) ([]byte, error) {
	n, err := c.long()
	if err != nil {
		return nil, err
	}
	if n < 0 || n > limit {
		return nil, fmt.Errorf("a length is %d, of %d bytes at most", n, limit)
	}
	b := make([]byte, n)
	_, err = io.ReadFull(c, b)
	return b, err
}

func (a *avroFile) from(at int64) *counter {
	return &counter{bufio.NewReaderSize(a.file.Stream(at, max(a.size-at, 0)), 64<<10), at}
}

func (a *avroFile) readHeader() error {
	r := a.from(0)
	var magic [4]byte
	if _, err := io.ReadFull(r, magic[:]); err != nil || string(magic[:]) != "Obj\x01" {
		return errors.New("it does not begin like a file of Avro")
	}
	for {
		n, err := r.long()
		if err != nil {
			return err
		}
		if n < 0 {
			n = -n
			if _, err := r.long(); err != nil {
				return err
			}
		}
		if n == 0 {
			break
		}
		for range n {
			key, err := r.bytes(min(a.size, 1<<20))
			if err != nil {
				return err
			}
			value, err := r.bytes(min(a.size, 16<<20))
			if err != nil {
				return err
			}
			switch string(key) {
			case "avro.schema":
				if a.root, err = parseAvro(value); err != nil {
					return err
				}
			case "avro.codec":
				a.codec = string(value)
			}
		}
	}
	if a.begin = r.n; a.root == nil {
		return errors.New("it has no schema")
	}
	if a.root.kind != avroRecord {
		a.root = &avroNode{kind: avroRecord, names: []string{"value"}, fields: []*avroNode{a.root},
			typ: vec.Type{Kind: vec.Struct, Fields: []vec.Field{{Name: "value", Type: a.root.typ}}}}
	}
	_, err := io.ReadFull(r, a.mark[:])
	return err
}

// decompress returns the values of a block.
func (a *avroFile) decompress(b []byte) ([]byte, error) {
	switch a.codec {
	case "", "null":
		return b, nil
	case "deflate":
		r := flate.NewReader(bytes.NewReader(b))
		out, err := io.ReadAll(io.LimitReader(r, maxAvroBlock))
		return out, errors.Join(err, r.Close())
	case "snappy":
		if len(b) < 4 {
			return nil, errAvro
		}
		n := len(b) - 4
		if size, err := snappy.DecodedLen(b[:n]); err != nil || size > maxAvroBlock {
			return nil, errAvro
		}
		out, err := snappy.Decode(nil, b[:n])
		if err == nil && crc32.ChecksumIEEE(out) != binary.BigEndian.Uint32(b[n:]) {
			err = errors.New("its checksum is wrong")
		}
		return out, err
	case "zstandard":
		r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxAvroBlock))
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return r.DecodeAll(b, nil)
	}
	return nil, fmt.Errorf("the compression %q is not known; write the file with deflate, snappy or zstandard", a.codec)
}

// seek returns the position of the first mark at or after at.
func (a *avroFile) seek(at int64) (int64, error) {
	if at <= a.begin {
		return a.begin, nil
	}
	buf := make([]byte, 64<<10)
	for at < a.size {
		n, err := a.file.ReadAt(buf[:min(int64(len(buf)), a.size-at)], at)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if i := bytes.Index(buf[:n], a.mark[:]); i >= 0 {
			return at + int64(i), nil
		}
		if n < len(a.mark) {
			break
		}
		at += int64(n - len(a.mark) + 1)
	}
	return a.size, nil
}

// resolveAvro reads the columns from the headers of the sampled files.
func resolveAvro(ctx context.Context, t *Table, samples []sample, _ int) error {
	if err := t.noOptions(); err != nil {
		return err
	}
	for _, s := range samples {
		f := s.file
		a, err := openAvro(ctx, f.Path, f.Hosts, f.Version, f.Size, f.ModTime.UnixNano())
		if err != nil {
			return err
		}
		a.file.Close()
		if err := t.addColumns(f.Path, a.root.typ.Fields); err != nil {
			return err
		}
	}
	return nil
}

// addColumns adds the columns of a file to the table. Columns of several types are widened.
func (t *Table) addColumns(path string, fields []vec.Field) error {
	for _, f := range fields {
		at := slices.IndexFunc(t.Columns, func(c vec.Field) bool { return c.Name == f.Name })
		if at < 0 {
			t.Columns = append(t.Columns, f)
			continue
		}
		wider, ok := widen(t.Columns[at].Type, f.Type)
		if !ok {
			return fmt.Errorf("%s: column %q is %s, and %s in other files; read the files in two queries", path, f.Name, f.Type, t.Columns[at].Type)
		}
		t.Columns[at].Type = wider
	}
	return nil
}

// readAvro emits the batches of a split.
func (s *source) readAvro(ctx context.Context, split connector.Split, r *connector.Reader[vec.Batch]) error {
	list, err := files.SlicesOf(jobSplit(split))
	if err != nil {
		return err
	}
	for _, sl := range list {
		if sl.Size == 0 {
			continue
		}
		a, err := openAvro(ctx, sl.Path, sl.Hosts, sl.Version, sl.Size, sl.ModTime)
		if err != nil {
			return err
		}
		err = s.readAvroSlice(ctx, a, sl, r)
		a.file.Close()
		if err != nil || r.Stopped() {
			return err
		}
	}
	return nil
}

// avroReader collects rows in a batch.
type avroReader struct {
	s     *source
	path  string
	row   *avroColumn // of the file's record, with the wanted fields
	n     int
	first int64 // the position of the first block of the batch
	file  fileColumns
}

func (s *source) readAvroSlice(ctx context.Context, a *avroFile, sl files.Slice, r *connector.Reader[vec.Batch]) error {
	rd := &avroReader{s: s, path: a.path, file: fileColumns{s: s}}
	rd.row = newAvroColumn(a.root, vec.Type{Kind: vec.Struct, Fields: s.columns})
	rd.row.begin()
	end := a.size
	if sl.Length >= 0 {
		end = sl.Offset + sl.Length
	}
	// a block belongs to the slice in which the mark before it begins
	at, err := a.seek(sl.Offset)
	if err != nil {
		return fmt.Errorf("%s: %w", a.path, err)
	}
	in := a.from(min(at+int64(len(a.mark)), a.size))
	for at < end && in.n < a.size {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		start := in.n
		if err := rd.block(a, in, r); err != nil {
			return fmt.Errorf("%s: block at byte %d: %w", a.path, start, err)
		}
		if r.Stopped() {
			return nil
		}
		at = in.n - int64(len(a.mark))
	}
	return rd.flush(r)
}

// block reads one block and its mark.
func (rd *avroReader) block(a *avroFile, in *counter, r *connector.Reader[vec.Batch]) error {
	start := in.n
	count, err := in.long()
	if err != nil {
		return err
	}
	data, err := in.bytes(min(maxAvroBlock, a.size))
	if err != nil {
		return err
	}
	var mark [16]byte
	if _, err := io.ReadFull(in, mark[:]); err != nil {
		return err
	}
	if mark != a.mark {
		return errors.New("it is damaged: the mark after it is wrong; fetch or write the file again")
	}
	if data, err = a.decompress(data); err != nil {
		return err
	}
	d := avroDecoder{b: data}
	for range count {
		if rd.n == 0 {
			rd.first = start
		}
		if d.value(a.root, rd.row); d.bad {
			return errAvro
		}
		if d.notUTF8 {
			return errNotUTF8
		}
		if rd.n++; rd.n == vec.Size {
			if err := rd.flush(r); err != nil {
				return err
			}
			if r.Stopped() {
				return nil
			}
		}
	}
	if len(d.b) > 0 {
		return errAvro
	}
	r.Add(count, in.n-start)
	return nil
}

// flush emits the batch.
func (rd *avroReader) flush(r *connector.Reader[vec.Batch]) error {
	n := rd.n
	if n == 0 {
		return nil
	}
	b := vec.Batch{N: n, Path: rd.path, Offset: rd.first, Where: rowPlace(rd.path, rd.first)}
	for i, c := range rd.s.columns {
		if rd.s.t.ofFile(c.Name) {
			b.Cols = append(b.Cols, rd.file.column(i, rd.path, n))
			continue
		}
		at := slices.IndexFunc(rd.row.typ.Fields, func(f vec.Field) bool { return f.Name == c.Name })
		switch {
		case at >= 0:
			v, err := convert(tidy(rd.row.v.Fields[at]), c.Type)
			if err != nil {
				return fmt.Errorf("%s: column %q: %w", rd.path, c.Name, err)
			}
			b.Cols = append(b.Cols, v)
		default:
			b.Cols = append(b.Cols, vec.NullOf(c.Type, n).Flat())
		}
	}
	r.Path, r.Line, r.Offset = rd.path, 0, rd.first
	r.Emit(&b)
	rd.n = 0
	rd.row.begin()
	return nil
}

// tidy stores decimals in Ints where they fit, also in parts.
func tidy(v *vec.Vec) *vec.Vec {
	if v.Wide != nil {
		narrow(v, v.Wide)
		if v.Ints != nil {
			v.Wide = nil
		}
	}
	if v.Elem != nil {
		tidy(v.Elem)
	}
	for _, f := range v.Fields {
		tidy(f)
	}
	return v
}

// avroSplits cuts the files anywhere; readAvro completes the blocks.
func (s *source) avroSplits(ctx context.Context, fs []files.File, target int64) ([]connector.Split, error) {
	for _, f := range fs {
		if f.Codec != files.Plain {
			return nil, fmt.Errorf("%s: Avro inside of %s cannot be read; decompress it, or let Avro compress its blocks", f.Path, f.Codec)
		}
	}
	return files.Convert[connector.Split](files.Splits(ctx, fs, target))
}
