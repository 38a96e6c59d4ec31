package files

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// estimateSize returns the decompressed size of the file, as far as the start and end of the file
// show it.
func estimateSize(r io.ReaderAt, f File) int64 {
	switch f.Codec {
	case Gzip:
		// The last four bytes are the length of the last member modulo 4 GiB.
		var b [4]byte
		if _, err := r.ReadAt(b[:], f.Size-4); err == nil {
			if n := int64(binary.LittleEndian.Uint32(b[:])); n+64 >= f.Size && n < 1000*f.Size+64 {
				return n
			}
		}
		return 4 * f.Size
	case Zstd:
		if frames, err := readFrames(r, f.Size); err == nil && len(frames) > 0 {
			last := frames[len(frames)-1]
			return last.raw + last.rawSize
		}
		return 4 * f.Size
	case Bzip2, Xz:
		return 6 * f.Size
	}
	return f.Size
}

// frame is one zstd frame: its position and size in the file and after decompression.
type frame struct{ at, size, raw, rawSize int64 }

// zstdCuts returns frame boundaries about target bytes apart. If there are none, it returns one cut
// and a note with the reason.
func zstdCuts(ctx context.Context, f File, target int64) ([]cut, string, error) {
	r, err := f.Open(ctx)
	if err != nil {
		return nil, "", err
	}
	defer r.Close()
	frames, err := readFrames(r, f.Size)
	if err != nil {
		return []cut{{}}, "zstd: cannot be cut: " + err.Error(), nil
	}
	if len(frames) < 2 {
		return []cut{{}}, "zstd: one frame, cannot be cut", nil
	}
	cuts := []cut{{}}
	for _, fr := range frames[1:] {
		if fr.raw-cuts[len(cuts)-1].offset >= target {
			cuts = append(cuts, cut{fr.raw, fr.at})
		}
	}
	// A short last piece does not justify a task.
	last := frames[len(frames)-1]
	if n := len(cuts); n > 1 && last.raw+last.rawSize-cuts[n-1].offset < target/8 {
		cuts = cuts[:n-1]
	}
	return cuts, "", nil
}

// readFrames returns the frames of a zstd file.
func readFrames(r io.ReaderAt, size int64) ([]frame, error) {
	if table, ok, err := seekTable(r, size); err != nil || ok {
		return table, err
	}
	return scanFrames(r, size)
}

// The seekable format ends with a skippable frame: entries of compressed and decompressed size,
// then a footer.
const (
	seekableFrame  = 0x184D2A5E
	seekableFooter = 0x8F92EAB1
	skippableFrame = 0x184D2A50 // and the fifteen after it
	zstdFrame      = 0xFD2FB528
)

// seekTable reads the table of the zstd seekable format. ok is false when the file has none.
func seekTable(r io.ReaderAt, size int64) (frames []frame, ok bool, err error) {
	var foot [9]byte
	if size < 17 {
		return nil, false, nil
	}
	if _, err := r.ReadAt(foot[:], size-9); err != nil {
		return nil, false, err
	}
	if binary.LittleEndian.Uint32(foot[5:]) != seekableFooter {
		return nil, false, nil
	}
	n, entry := int64(binary.LittleEndian.Uint32(foot[:])), int64(8)
	if foot[4]&0x80 != 0 {
		entry = 12 // with checksums
	}
	at := size - 9 - n*entry - 8
	if at < 0 {
		return nil, false, errors.New("its seek table is damaged")
	}
	table := make([]byte, 8+n*entry)
	if _, err := r.ReadAt(table, at); err != nil {
		return nil, false, err
	}
	if binary.LittleEndian.Uint32(table) != seekableFrame {
		return nil, false, errors.New("its seek table is damaged")
	}
	var pos, raw int64
	for e := table[8:]; len(e) > 0; e = e[entry:] {
		fr := frame{pos, int64(binary.LittleEndian.Uint32(e)), raw, int64(binary.LittleEndian.Uint32(e[4:]))}
		frames = append(frames, fr)
		pos, raw = pos+fr.size, raw+fr.rawSize
	}
	if pos != at {
		return nil, false, errors.New("its seek table does not fit its frames")
	}
	return frames, true, nil
}

// scanFrames visits the frames and blocks of a zstd file, but reads only their headers. Every frame
// must state its content size.
func scanFrames(r io.ReaderAt, size int64) ([]frame, error) {
	var frames []frame
	var raw int64
	for pos := int64(0); pos < size; {
		var buf [18]byte
		n, err := r.ReadAt(buf[:], pos)
		if n < 8 {
			return nil, fmt.Errorf("damaged at byte %d: %w", pos, err)
		}
		switch magic := binary.LittleEndian.Uint32(buf[:]); {
		case magic&^15 == skippableFrame:
			pos += 8 + int64(binary.LittleEndian.Uint32(buf[4:]))
			continue
		case magic != zstdFrame:
			return nil, fmt.Errorf("damaged at byte %d", pos)
		}
		var h zstd.Header
		if err := h.Decode(buf[:n]); err != nil {
			return nil, fmt.Errorf("damaged at byte %d: %w", pos, err)
		}
		if !h.HasFCS {
			return nil, errors.New("its frames do not state their sizes")
		}
		end, err := frameEnd(r, pos+int64(h.HeaderSize), h.HasCheckSum)
		if err != nil {
			return nil, err
		}
		frames = append(frames, frame{pos, end - pos, raw, int64(h.FrameContentSize)})
		pos, raw = end, raw+int64(h.FrameContentSize)
	}
	return frames, nil
}

// frameEnd visits the blocks from pos and returns the end of the frame.
func frameEnd(r io.ReaderAt, pos int64, checksum bool) (int64, error) {
	for {
		var b [4]byte
		if _, err := r.ReadAt(b[:3], pos); err != nil {
			return 0, fmt.Errorf("damaged at byte %d: %w", pos, err)
		}
		h := binary.LittleEndian.Uint32(b[:])
		n := int64(h >> 3)
		if h>>1&3 == 1 {
			n = 1 // one byte, repeated
		}
		pos += 3 + n
		if h&1 != 0 {
			break
		}
	}
	if checksum {
		pos += 4
	}
	return pos, nil
}

// decompressFrames is decompress for zstd frames of size bytes in total, with raw bytes after
// decompression, and for the frames after them. It checks raw, because the boundary between slices
// comes from a seek table without checksum.
func decompressFrames(r io.Reader, size, raw int64) (io.Reader, func(), error) {
	z, free, err := decompress(io.LimitReader(r, size), Zstd)
	if err != nil {
		return nil, nil, err
	}
	return &framedReader{z.(*zstd.Decoder), r, raw}, free, nil
}

// framedReader reads frames that must have a given decompressed size, and then the frames after
// them.
type framedReader struct {
	z    *zstd.Decoder
	rest io.Reader // the input after the frames
	left int64     // decompressed bytes still expected; -1 after the frames
}

var errSeekTable = errors.New("its seek table does not fit its frames")

func (f *framedReader) Read(p []byte) (int, error) {
	if f.left < 0 || len(p) == 0 {
		return f.z.Read(p)
	}
	n, err := f.z.Read(p[:min(int64(len(p)), f.left)])
	f.left -= int64(n)
	switch {
	case err == io.EOF && f.left > 0:
		return n, errSeekTable
	case err != nil && err != io.EOF || f.left > 0:
		return n, err
	}
	var more [1]byte
	switch m, err := io.ReadFull(f.z, more[:]); {
	case m > 0:
		return n, errSeekTable
	case err != io.EOF:
		return n, err
	}
	f.left = -1
	return n, f.z.Reset(f.rest)
}
