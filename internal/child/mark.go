package child

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
)

// A mark is a small file in which the child notes each record before it passes it to user code. The
// file survives the process, so the worker can find the record at which the process died. It costs
// a system call per record, so only attempts of tasks that lost a process have one.

const (
	markName = "record" // in the directory of scratch files
	markSize = 4 << 10  // a page, so that the end of the process cannot tear a write
	markHead = 4 + 3*8 + 2
)

// Mark is the worker's end of a mark.
type Mark struct{ f *os.File }

// NewMark creates the mark of the attempt with scratch directory dir. The file stays open until
// Close, even when dir is removed.
func NewMark(dir string) (*Mark, error) {
	f, err := os.OpenFile(filepath.Join(dir, markName), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err := f.Write(make([]byte, markSize)); err != nil { // room for later notes
		_ = f.Close()
		return nil, err
	}
	return &Mark{f}, nil
}

// Record returns the number of the last noted record, from 1, and its position as text. Number zero
// means that no record was in progress.
func (m *Mark) Record() (number int64, place string) {
	b := make([]byte, markSize)
	if _, err := m.f.ReadAt(b, 0); err != nil {
		return 0, ""
	}
	n := int(binary.LittleEndian.Uint16(b[markHead-2:]))
	if n > markSize-markHead || binary.LittleEndian.Uint32(b) != crc32.ChecksumIEEE(b[4:markHead+n]) {
		return 0, ""
	}
	number = int64(binary.LittleEndian.Uint64(b[4:]))
	offset, line := binary.LittleEndian.Uint64(b[12:]), binary.LittleEndian.Uint64(b[20:])
	path := string(b[markHead : markHead+n])
	switch {
	case number <= 0:
		return 0, ""
	case path == "":
		place = fmt.Sprintf("record %d of its split", number)
	case line > 0:
		place = fmt.Sprintf("%s:%d", path, line)
	default:
		place = fmt.Sprintf("%s at byte %d", path, offset)
	}
	return number, place
}

// Close closes the file. The file is removed with its directory.
func (m *Mark) Close() error { return m.f.Close() }

// marker is the child's end of a mark.
type marker struct {
	f   *os.File
	buf [markSize]byte
}

func openMark(dir string) (*marker, error) {
	f, err := os.OpenFile(filepath.Join(dir, markName), os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	return &marker{f: f}, nil
}

func (m *marker) note(number int64, path string, offset, line int64) error {
	path = path[:min(len(path), markSize-markHead)]
	b := m.buf[:markHead+copy(m.buf[markHead:], path)]
	binary.LittleEndian.PutUint64(b[4:], uint64(number))
	binary.LittleEndian.PutUint64(b[12:], uint64(offset))
	binary.LittleEndian.PutUint64(b[20:], uint64(line))
	binary.LittleEndian.PutUint16(b[markHead-2:], uint16(len(path)))
	binary.LittleEndian.PutUint32(b, crc32.ChecksumIEEE(b[4:]))
	_, err := m.f.WriteAt(b, 0)
	return err
}

func (m *marker) close() { _ = m.f.Close() }
