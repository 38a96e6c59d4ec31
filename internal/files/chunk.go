package files

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"unsafe"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/layshaft/layshaft/internal/arena"
	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
)

// Padding is the number of readable bytes after the end of a chunk, so that scanners may load whole
// words.
const Padding = 64

// MaxRecord is the maximum size of a record, in bytes. A longer record is an error with its
// position.
const MaxRecord = 64 << 20

// chunkSize is the size of a chunk in bytes. It is large enough to make the cost of system calls
// negligible (BenchmarkChunks is flat from 128 KiB to 4 MiB). It is small enough to stay in the
// cache until it is parsed, and to be retained by one string.
const chunkSize = 256 << 10

// overhang is the number of bytes of the first read after the end of a slice, to complete its last
// record.
const overhang = 8 << 10

// Chunk is a sequence of whole records of one file.
type Chunk struct {
	Path   string // path of the file
	Codec  Codec  // compression of the file
	Offset int64  // of Data[0] in the decompressed file
	// First reports whether the chunk contains the first record of the file. Offset is then 0, or 3
	// after a byte order mark.
	First bool
	// Data is fresh memory and never overwritten before Release, so strings may alias it
	// permanently. Padding bytes after its end may be read (cap(Data) >= len(Data)+Padding); their
	// content is undefined.
	Data []byte

	buf  []byte    // the memory of Data
	free *freeBufs // where Release puts it, or nil
}

// Release lets a later chunk of the same split reuse the memory of Data. No string may alias Data,
// and the next chunk must have been read.
func (c Chunk) Release() {
	if c.free != nil {
		c.free.put(c.buf)
	}
}

// freeBufs are buffers of chunks that may be read into again: faster than fresh memory, which the
// operating system has to clear and which is not in the processor's cache.
type freeBufs struct{ bufs [][]byte }

// maxFree is how many buffers are kept.
const maxFree = 8

// get returns a buffer of n bytes, as allocate does.
func (f *freeBufs) get(n int) []byte {
	if last := len(f.bufs) - 1; last >= 0 {
		b := f.bufs[last]
		f.bufs = f.bufs[:last]
		if cap(b) >= n+Padding {
			return b[:n]
		}
	}
	return allocate(n)
}

func (f *freeBufs) put(b []byte) {
	arena.Overwrite(b[:cap(b)])
	if len(f.bufs) < maxFree && cap(b) <= 2*chunkSize {
		f.bufs = append(f.bufs, b)
	}
}

// ErrStop is returned by yield to end Chunks or Blocks early without an error.
var ErrStop = errors.New("stop")

// Chunks passes the records of a split to yield, several at a time and in order. A record ends
// after delim; the last record of a file may lack it. A record belongs to the slice with its first
// byte, so the slices of one file contain each record once.
//
// Chunks returns an error with the name of the file if the file changed since it was split, is
// damaged, or has a record longer than MaxRecord.
func Chunks(ctx context.Context, s job.Split, delim byte, yield func(c Chunk) error) error {
	var free freeBufs
	return eachSlice(ctx, s, func(sl Slice) error { return readChunks(ctx, sl, byteDelim(delim), chunkSize, &free, yield) })
}

// Words is Chunks for text when only words matter: it cuts after any ASCII white space, so lines
// may have any length.
func Words(ctx context.Context, s job.Split, yield func(c Chunk) error) error {
	var free freeBufs
	return eachSlice(ctx, s, func(sl Slice) error { return readChunks(ctx, sl, spaceDelim, chunkSize, &free, yield) })
}

// delimiter finds the first and the last delimiter in data, or -1 when there is none.
type delimiter struct {
	first, last func(data []byte) int
	name        string
}

func byteDelim(b byte) delimiter {
	return delimiter{
		func(data []byte) int { return bytes.IndexByte(data, b) },
		func(data []byte) int { return bytes.LastIndexByte(data, b) },
		fmt.Sprintf("%q", b),
	}
}

// newLine is the name of the delimiter of lines.
const newLine = `'\n'`

var spaceDelim = delimiter{
	func(data []byte) int { return bytes.IndexAny(data, asciiSpace) },
	func(data []byte) int { return bytes.LastIndexAny(data, asciiSpace) },
	"white space",
}

const asciiSpace = " \t\n\v\f\r"

// eachSlice calls read for the slices of a split in turn. It ends early on ErrStop.
func eachSlice(ctx context.Context, s job.Split, read func(Slice) error) error {
	slices, err := SlicesOf(s)
	if err != nil {
		return err
	}
	ahead := smallAhead{slices: slices}
	for i, sl := range slices {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := ahead.checkBefore(ctx, i); err != nil {
			return err
		}
		sl.opened = ahead.open(ctx, i)
		if err := read(sl); err != nil {
			if errors.Is(err, ErrStop) {
				return nil
			}
			return err
		}
	}
	return ahead.checkBefore(ctx, len(slices))
}

// smallBatch is how many small files of a split are opened together.
const smallBatch = 250

// smallAhead opens the small files of a split many at a time, where their file system can: one call
// for each of thousands of files takes longer than to read them.
type smallAhead struct {
	slices []Slice
	opened []filesys.File // of slices from at on
	at     int
}

// checkBefore returns an error if a file that was opened with others has changed since. It looks
// once the files before slice i are read, with one call for all.
func (a *smallAhead) checkBefore(ctx context.Context, i int) error {
	if len(a.opened) == 0 || i < a.at+len(a.opened) {
		return nil
	}
	read := a.slices[a.at : a.at+len(a.opened)]
	now, err := a.openSmall(ctx, read)
	if err != nil {
		return nil // what was read is what was planned
	}
	for k, f := range now {
		if f == nil || a.opened[k] == nil {
			continue
		}
		if info, err := f.Stat(); err == nil {
			if err := CheckUnchanged(info, read[k].Path, read[k].Size, read[k].ModTime); err != nil {
				return err
			}
		}
	}
	return nil
}

// openSmall opens the files of some slices; nil where their file system cannot.
func (a *smallAhead) openSmall(ctx context.Context, slices []Slice) ([]filesys.File, error) {
	fsys, err := filesys.Of(ctx, slices[0].Path)
	headed, ok := fsys.(filesys.Headed)
	if err != nil || !ok {
		return nil, err
	}
	infos := make([]filesys.Info, len(slices))
	for i, sl := range slices {
		infos[i] = filesys.Info{Path: sl.Path, Hosts: sl.Hosts}
	}
	return headed.OpenSmall(ctx, infos)
}

// open returns the file of slice i; nil if it must be opened alone.
func (a *smallAhead) open(ctx context.Context, i int) filesys.File {
	if n := i - a.at; n < len(a.opened) {
		return a.opened[n]
	}
	a.opened, a.at = nil, i
	end := i
	for end < min(i+smallBatch, len(a.slices)) && a.slices[end].Size <= filesys.MaxSmall && len(a.slices[end].Hosts) > 0 {
		end++
	}
	if end-i < 2 {
		return nil
	}
	opened, err := a.openSmall(ctx, a.slices[i:end])
	if err != nil {
		opened = make([]filesys.File, end-i) // each file is opened alone, and the error names the wrong one
	}
	if a.opened = opened; len(opened) == 0 {
		return nil
	}
	return opened[0]
}

// readChunks reads one slice.
func readChunks(ctx context.Context, s Slice, delim delimiter, size int, free *freeBufs, yield func(c Chunk) error) (err error) {
	from, last := s.Offset, int64(1<<62)
	skip := s.Offset > 0 // skip the end of a record that the previous slice owns
	if skip && s.Codec == Plain {
		from-- // a delimiter before the slice means that a record starts at its first byte
	}
	if s.Length >= 0 {
		// last is the last position at which a record of this slice may start. A compressed slice
		// cannot read the byte before it. So a record that starts exactly at its end belongs to it,
		// and the next slice skips that record.
		if last = s.Offset + s.Length; s.Codec == Plain {
			last--
		}
	}
	r, err := s.open(ctx, from)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := r.close(); err == nil {
			err = cerr
		}
	}()

	var carry []byte // the incomplete record at the end of the last chunk
	base := from     // offset of carry[0] in the file
	want := size     // bytes of the next buffer
	if s.Codec != Plain {
		want = int(min(int64(size), 16*s.Size)) // allocate little for a small file
	}
	first := s.Offset == 0
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		// Do not read far beyond the end of the slice.
		at := base + int64(len(carry))
		room := max(last+1-at, int64(len(carry))) + overhang
		if s.Codec == Plain {
			room = min(room, s.Size-at+1)
		}
		if n := len(carry) + int(min(room, 1<<30)); n < want {
			want = n
		}
		buf := free.get(want)
		n := copy(buf, carry)
		m, eof, err := r.fill(buf[n:])
		if err != nil {
			return fmt.Errorf("%s: byte %d: %w", s.Path, at+int64(m), err)
		}
		data := buf[:n+m]
		if skip {
			i := delim.first(data)
			if i < 0 {
				if base += int64(len(data)); eof || base > last {
					return nil
				}
				carry, want = nil, size
				continue
			}
			data, base, skip = data[i+1:], base+int64(i)+1, false
			if base > last {
				return nil
			}
		}
		if base == 0 && carry == nil {
			if err := checkText(s.Path, s.Codec, data, delim.name == newLine && (eof || len(data) >= size)); err != nil {
				return err
			}
		}
		if base == 0 && bytes.HasPrefix(data, []byte("\xef\xbb\xbf")) {
			data, base = data[3:], 3
		}
		// The last record of this slice ends with the first delimiter at or after last.
		end, done := 0, false
		if k := last - base; k < int64(len(data)) {
			k = max(k, 0)
			if i := delim.first(data[k:]); i >= 0 {
				end, done = int(k)+i+1, true
			}
		}
		if !done && eof {
			end, done = len(data), true
		}
		if !done {
			end = delim.last(data) + 1
		}
		if end > 0 {
			if err := yield(Chunk{Path: s.Path, Codec: s.Codec, Offset: base, First: first, Data: data[:end], buf: buf, free: free}); err != nil {
				return err
			}
			first = false
		}
		if done {
			return nil
		}
		carry, base = data[end:], base+int64(end)
		if len(carry) > MaxRecord {
			return fmt.Errorf("%s: the record at byte %d is longer than %d bytes; is the delimiter %s the right one?", s.Path, base, MaxRecord, delim.name)
		}
		want = max(size, min(2*len(carry), MaxRecord+1))
	}
}

// Blocks passes the fixed-size records of a split to yield, several at a time and in order.
// len(Data) is a multiple of size. As in Chunks, a record belongs to the slice with its first byte.
// A file that ends within a record is an error.
func Blocks(ctx context.Context, s job.Split, size int, yield func(c Chunk) error) error {
	return eachSlice(ctx, s, func(sl Slice) error { return readBlocks(ctx, sl, size, yield) })
}

func readBlocks(ctx context.Context, s Slice, size int, yield func(c Chunk) error) (err error) {
	z := int64(size)
	pos, end := (s.Offset+z-1)/z*z, int64(1<<62)
	if s.Length >= 0 {
		end = (s.Offset + s.Length + z - 1) / z * z
	}
	if pos >= end {
		return nil
	}
	from := pos
	if s.Codec != Plain {
		from = s.Offset
	}
	r, err := s.open(ctx, from)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := r.close(); err == nil {
			err = cerr
		}
	}()
	if _, err := io.CopyN(io.Discard, r, pos-from); err != nil && err != io.EOF {
		return fmt.Errorf("%s: %w", s.Path, err)
	}
	step := max(chunkSize/z, 1) * z
	for pos < end {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		n := min(step, end-pos)
		if s.Codec == Plain {
			n = min(n, s.Size-pos)
		}
		buf := allocate(int(n))
		m, eof, err := r.fill(buf)
		if err != nil {
			return fmt.Errorf("%s: byte %d: %w", s.Path, pos+int64(m), err)
		}
		if m%size != 0 {
			return PartialRecordError(s.Path, pos+int64(m), size)
		}
		if m > 0 {
			if err := yield(Chunk{Path: s.Path, Codec: s.Codec, Offset: pos, First: pos == 0, Data: buf[:m]}); err != nil {
				return err
			}
		}
		if pos += int64(m); eof || m == 0 {
			return nil
		}
	}
	return nil
}

// PartialRecordError returns the error for a file that ends within a fixed-size record.
func PartialRecordError(path string, bytes int64, size int) error {
	return fmt.Errorf("%s: its size, %s, is not a multiple of the record size %d (%s left over); check the size, or that the file is complete",
		path, report.Plural(bytes, "byte"), size, report.Plural(bytes%int64(size), "byte"))
}

// allocate returns n bytes of new memory, with Padding bytes after them. The memory is not cleared:
// clearing it costs more than reading the file into it.
func allocate(n int) []byte {
	var b strings.Builder
	b.Grow(n + Padding)
	b.WriteByte(0) // to give the string an address
	return unsafe.Slice(unsafe.StringData(b.String()), n+Padding)[:n]
}

// stream is a slice opened for reading.
type stream struct {
	io.Reader
	file  filesys.File
	slice Slice
	free  func()
}

// open opens the slice at offset from. For a compressed file, it starts at Offset instead.
func (s Slice) open(ctx context.Context, from int64) (*stream, error) {
	f := s.opened
	if f == nil {
		var err error
		if f, err = Open(ctx, s.Path, s.Hosts, s.Version); err != nil {
			return nil, err
		}
	}
	at := from
	if s.Codec != Plain {
		at = s.Frame
	}
	// Bytes appended in the meantime are not part of the slice.
	st := &stream{Reader: f.Stream(at, max(s.Size-at, 0)), file: f, slice: s, free: func() {}}
	if err := st.checkUnchanged(); err != nil {
		f.Close()
		return nil, err
	}
	if s.Size == 0 {
		return st, nil
	}
	var err error
	if s.End > 0 && s.Codec == Zstd {
		st.Reader, st.free, err = decompressFrames(st.Reader, s.End-s.Frame, s.Length)
	} else {
		st.Reader, st.free, err = decompress(st.Reader, s.Codec)
	}
	if err != nil {
		f.Close()
		return nil, withPath(s.Path, err)
	}
	return st, nil
}

// fill reads until buf is full or the file ends. Unlike io.ReadFull, it keeps the error for
// truncated compressed data.
func (s *stream) fill(buf []byte) (n int, eof bool, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = s.Read(buf[n:])
		n += m
	}
	if err == io.EOF {
		return n, true, nil
	}
	if err != nil && s.slice.Codec != Plain {
		err = s.explainDamage(err)
	}
	return n, false, err
}

// explainDamage explains an error in compressed data: the file changed, or is incomplete.
func (s *stream) explainDamage(err error) error {
	if changed := s.checkUnchanged(); changed != nil {
		return changed
	}
	if errors.As(err, new(*filesys.Error)) || errors.As(err, new(*fs.PathError)) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err // the data could not be read
	}
	if errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return errWindow(Zstd, "more")
	}
	if errors.Is(err, errTooLarge) {
		return err
	}
	return fmt.Errorf("its %s data is damaged, or the file was cut off (%w); fetch or write it again", s.slice.Codec, err)
}

// decompress returns a reader of the decompressed content of r in UTF-8, and a function that frees
// its memory.
func decompress(r io.Reader, c Codec) (io.Reader, func(), error) {
	if compression, encoding := c.split(); encoding != "" {
		plain, free, err := decompress(r, compression)
		if err != nil {
			return nil, nil, err
		}
		return decode(plain, c), free, nil
	}
	switch c {
	case Gzip:
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, nil, errSuffix(c, err)
		}
		return z, func() { z.Close() }, nil
	case Bzip2:
		return bzip2.NewReader(r), func() {}, nil
	case Xz:
		z, err := xz.NewReader(newXzGuard(bufio.NewReaderSize(r, 64<<10)))
		if err != nil {
			return nil, nil, errSuffix(c, err)
		}
		return z, func() {}, nil
	case Zstd:
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, fmt.Errorf("zstd: %w", err)
		}
		return z, z.Close, nil
	}
	return r, func() {}, nil
}

// errSuffix is the error for a file whose first bytes do not fit its suffix.
func errSuffix(c Codec, err error) error {
	return fmt.Errorf("its name has a %s suffix, but it is not a %[1]s file (%w); remove the suffix, or write the file again", c, err)
}

// close closes the slice. It returns an error when the file changed in the meantime.
func (s *stream) close() error {
	s.free()
	err := s.checkUnchanged()
	s.file.Close()
	return err
}

// checkUnchanged returns an error when the file differs from its state at the time of the split.
func (s *stream) checkUnchanged() error {
	fi, err := s.file.Stat()
	if err != nil {
		return err
	}
	return CheckUnchanged(fi, s.slice.Path, s.slice.Size, s.slice.ModTime)
}

// Open opens a file of a split, with the hosts and the version in it. Its error wraps
// filesys.ErrChanged if the file was removed since the split. A file of a worker is no such case:
// another worker may have it, or come back with it.
func Open(ctx context.Context, path string, hosts []string, version int64) (filesys.File, error) {
	f, err := filesys.Open(ctx, path, hosts, func(text string) bool { return isVersion(version, text) })
	if errors.Is(err, fs.ErrNotExist) && !strings.HasPrefix(path, "dataset://") && !strings.HasPrefix(path, "file://") {
		return nil, fmt.Errorf("%w; it %w", err, filesys.ErrChanged)
	}
	return f, err
}

// CheckUnchanged returns an error, which wraps filesys.ErrChanged, when a file differs from its
// state at the time of the split: now is its current state, size and modTime (in nanoseconds since
// 1970) are the earlier ones.
func CheckUnchanged(now filesys.Info, path string, size, modTime int64) error {
	t := now.ModTime.UnixNano()
	if now.Size == size && (t == modTime || t < modTime && len(now.Hosts) > 0) {
		// The times of copies differ, but the split recorded the latest of them.
		return nil
	}
	if now.Size == size && strings.HasPrefix(path, "s3://") && max(t-modTime, modTime-t) <= 1e9 {
		// A listing contains fractions of a second; the header of a single object omits or rounds
		// them.
		return nil
	}
	return fmt.Errorf("%s: %w (%s of %s, now %d of %s); run the job again when it is complete", path,
		filesys.ErrChanged, report.Plural(size, "byte"), formatTime(modTime), now.Size, formatTime(t))
}

// LineOf returns the number, from 1, of the line with the byte at offset of the decompressed file.
// It reads the file up to that byte, so it is only for error messages.
func LineOf(ctx context.Context, path string, c Codec, offset int64) (int64, error) {
	f, err := filesys.Open(ctx, path, nil, nil)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	r, free, err := decompress(f.Stream(0, 1<<62), c)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	defer free()
	line, buf := int64(1), make([]byte, 64<<10)
	for offset > 0 {
		n, err := r.Read(buf[:min(offset, int64(len(buf)))])
		line += int64(bytes.Count(buf[:n], []byte{'\n'}))
		offset -= int64(n)
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, fmt.Errorf("%s: %w", path, err)
		}
	}
	return line, nil
}
