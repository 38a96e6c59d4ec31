package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
)

// head is the file that says how far the journal was acknowledged. Badger drops a damaged tail without a word; the head
// lies apart from it and tells.
//
//	"LSHEAD1\n" 8 | last event 8 | hash of the frame that ends with it 16 | CRC32C 4
type head struct {
	file *os.File // nil until there is one
	seq  uint64
	hash hash
}

const (
	headMagic = "LSHEAD1\n"
	headSize  = 8 + 8 + 16 + 4
)

// openHead opens and reads the head in dir. The file stays nil when there is none.
func openHead(dir string) (h head, err error) {
	file, err := os.OpenFile(filepath.Join(dir, "head"), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return head{}, nil
	}
	if err != nil {
		return head{}, err
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
	h.seq, h.hash = binary.LittleEndian.Uint64(b[8:]), hash(b[16:])
	return h, nil
}

// create makes the file, durable, with what h says.
func (h *head) create(dir string) error {
	tmp := filepath.Join(dir, "head.tmp")
	file, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if h.file != nil {
		_ = h.file.Close()
	}
	h.file = file
	if err := h.write(h.seq, h.hash); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(dir, "head")); err != nil {
		return err
	}
	return syncDir(dir)
}

// write overwrites the head in place: it lies within one sector, so it is never half written.
func (h *head) write(seq uint64, sum hash) error {
	h.seq, h.hash = seq, sum
	b := append(make([]byte, 0, headSize), headMagic...)
	b = binary.LittleEndian.AppendUint64(b, seq)
	b = append(b, sum[:]...)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	if _, err := h.file.WriteAt(b, 0); err != nil {
		return fmt.Errorf("head: %w", err)
	}
	return nil
}

func (h *head) close() error {
	err := h.file.Sync()
	if e := h.file.Close(); err == nil {
		err = e
	}
	return err
}

// syncDir makes the names in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if e := d.Close(); err == nil {
		err = e
	}
	return err
}
