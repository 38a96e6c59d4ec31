package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/layshaft/layshaft/internal/dirs"
)

// Head is the file head in the directory of a store. It holds the number of the last acknowledged
// write. Badger drops a damaged end of its log without an error; the head reveals the loss, because
// it is a separate file.
//
//	"LSHEAD1\n" 8 | number of the last write 8 | its sum 16 | CRC32C of all before 4
type Head struct {
	file *os.File // nil until the file exists
	Seq  uint64   // number of the last write
	Sum  [16]byte // sum of the last write, defined by the caller
}

const (
	headMagic = "LSHEAD1\n"
	headSize  = 8 + 8 + 16 + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// OpenHead opens and reads the head in dir. If the file does not exist, Exists is false; see
// Create.
func OpenHead(dir string) (h Head, err error) {
	file, err := os.OpenFile(filepath.Join(dir, "head"), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return Head{}, nil
	}
	if err != nil {
		return Head{}, err
	}
	h.file = file
	var b [headSize + 1]byte
	n, err := io.ReadFull(file, b[:])
	if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		n = 0
	}
	if n != headSize || string(b[:8]) != headMagic || crc32.Checksum(b[:32], castagnoli) != binary.LittleEndian.Uint32(b[32:]) {
		return h, errors.New("the file head is damaged")
	}
	h.Seq, h.Sum = binary.LittleEndian.Uint64(b[8:]), [16]byte(b[16:])
	return h, nil
}

// Exists reports whether the file exists.
func (h *Head) Exists() bool { return h.file != nil }

// Create creates the file with the content of h and makes it durable.
func (h *Head) Create(dir string) error {
	tmp := filepath.Join(dir, "head.tmp")
	file, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if h.file != nil {
		_ = h.file.Close()
	}
	h.file = file
	if err := h.Write(h.Seq, h.Sum); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(dir, "head")); err != nil {
		return err
	}
	return SyncDir(dir)
}

// Write overwrites the head in place. The head fits in one sector, so it is never half written.
func (h *Head) Write(seq uint64, sum [16]byte) error {
	h.Seq, h.Sum = seq, sum
	b := append(make([]byte, 0, headSize), headMagic...)
	b = binary.LittleEndian.AppendUint64(b, seq)
	b = append(b, sum[:]...)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	if _, err := h.file.WriteAt(b, 0); err != nil {
		return fmt.Errorf("head: %w", err)
	}
	return nil
}

// Sync makes the last Write durable. It may run concurrently with Write. If the machine stops
// before, the head is older than the store; this is not damage.
func (h *Head) Sync() error { return h.file.Sync() }

// Close syncs and closes the file, if it exists.
func (h *Head) Close() error {
	if h.file == nil {
		return nil
	}
	return errors.Join(h.file.Sync(), h.file.Close())
}

// MakeDir makes a directory and its parents, and makes their names durable. The mode is for the
// directories that it makes.
func MakeDir(dir string, mode os.FileMode) error {
	var grown []string // directories with a new name
	for d := filepath.Clean(dir); ; d = filepath.Dir(d) {
		if _, err := os.Lstat(d); !errors.Is(err, os.ErrNotExist) || d == filepath.Dir(d) {
			break
		}
		grown = append(grown, filepath.Dir(d))
	}
	err := dirs.MkdirAll(dir, mode)
	for _, d := range grown {
		if err == nil {
			err = SyncDir(d)
		}
	}
	return err
}

// SyncDir makes the names in dir durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
