package datadir

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/state"
	"github.com/layshaft/layshaft/internal/wire"
)

// codeFormat is the format of the directory of a CodeStore.
var codeFormat = state.Format{Kind: "programs", Version: 1}

// CodeStore stores programs from clients, each in a file named by its hash. Its methods are safe
// for many goroutines and several processes.
type CodeStore struct {
	dir string
	// shared has the programs of all coordinators; nil for a single one.
	shared SharedCode
}

// SharedCode stores programs for all coordinators.
type SharedCode interface {
	// Has reports whether a program is stored.
	Has(hash string) bool
	// Put stores a program of size bytes.
	Put(hash string, size int64, r io.Reader) error
	// Remove removes a program.
	Remove(hash string) error
	// Each calls fn with every program.
	Each(fn func(hash string, size int64, r io.Reader) error) error
}

// OpenCodeStore returns the store in dir, and creates dir when it is missing. It removes the
// remains of interrupted uploads.
func OpenCodeStore(dir string) (*CodeStore, error) {
	if err := state.MakeDir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("programs: %w", err)
	}
	if err := codeFormat.OpenFlatDir(dir); err != nil {
		return nil, fmt.Errorf("programs %s: %w", dir, err)
	}
	return &CodeStore{dir: dir}, nil
}

// share makes the store one of several with the same programs. It fetches what is missing here.
func (s *CodeStore) share(shared SharedCode) (*CodeStore, error) {
	s = &CodeStore{s.dir, shared}
	return s, shared.Each(func(hash string, size int64, r io.Reader) error {
		if s.hasFile(hash) {
			return nil
		}
		return s.putFile(report.Code{SHA256: hash, Size: size}, r)
	})
}

// Has reports whether a program is stored.
func (s *CodeStore) Has(hash string) bool {
	return s.hasFile(hash) && (s.shared == nil || s.shared.Has(hash))
}

func (s *CodeStore) hasFile(hash string) bool {
	_, err := os.Stat(filepath.Join(s.dir, hash))
	return IsHash(hash) && err == nil
}

// IsHash reports whether a name is the SHA-256 of a file in hex, and so not a path.
func IsHash(hash string) bool {
	b, err := hex.DecodeString(hash)
	return err == nil && len(b) == sha256.Size && hash == strings.ToLower(hash)
}

// Put stores a program from r. Readers find all of it, on disk, or nothing. If the size or the
// hash of r differs from c, the error wraps wire.ErrInvalid. Of several coordinators a majority has
// the program afterwards.
func (s *CodeStore) Put(c report.Code, r io.Reader) error {
	if err := s.putFile(c, r); err != nil || s.shared == nil {
		return err
	}
	return s.putShared(c.SHA256)
}

// putShared passes a stored program to the other coordinators.
func (s *CodeStore) putShared(hash string) error {
	f, err := os.Open(filepath.Join(s.dir, hash))
	if err != nil {
		return fmt.Errorf("program %.12s: %w", hash, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil {
		err = s.shared.Put(hash, info.Size(), f)
	}
	if err != nil {
		return fmt.Errorf("program %.12s: %w", hash, err)
	}
	return nil
}

func (s *CodeStore) putFile(c report.Code, r io.Reader) error {
	if !IsHash(c.SHA256) {
		return fmt.Errorf("program %q: %w: its name must be a SHA-256 in hex", c.SHA256, wire.ErrInvalid)
	}
	file, err := os.CreateTemp(s.dir, "put-*.tmp")
	if err != nil {
		return fmt.Errorf("program %.12s: %w", c.SHA256, err)
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(file, h), io.LimitReader(r, c.Size+1))
	if err == nil && (n != c.Size || hex.EncodeToString(h.Sum(nil)) != c.SHA256) {
		err = fmt.Errorf("%w: %d bytes of hash %x came, not %d bytes of that hash; it changed or was cut on the way, send it again", wire.ErrInvalid, n, h.Sum(nil), c.Size)
	}
	if err == nil {
		err = file.Sync()
	}
	err = errors.Join(err, file.Close())
	if err == nil {
		err = os.Rename(file.Name(), filepath.Join(s.dir, c.SHA256))
	}
	if err != nil {
		_ = os.Remove(file.Name())
		return fmt.Errorf("program %.12s: %w", c.SHA256, err)
	}
	return state.SyncDir(s.dir)
}

// Get writes a program into w and verifies it on the way. An error that wraps wire.ErrDamaged
// comes after the last byte; the file is then removed, so that a client can send it again.
func (s *CodeStore) Get(hash string, w io.Writer) error {
	path := filepath.Join(s.dir, hash)
	if !IsHash(hash) {
		return fmt.Errorf("program %q: %w", hash, wire.ErrUnknownCode)
	}
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("program %.12s: %w", hash, wire.ErrUnknownCode)
	}
	if err != nil {
		return fmt.Errorf("program %.12s: %w", hash, err)
	}
	defer file.Close()
	now := time.Now()
	_ = os.Chtimes(path, now, now) // for Trim
	h := sha256.New()
	if _, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(w, h)}, struct{ io.Reader }{file}, make([]byte, wire.PieceSize)); err != nil {
		return fmt.Errorf("program %.12s: %w", hash, err)
	}
	if hex.EncodeToString(h.Sum(nil)) != hash {
		return fmt.Errorf("program %.12s: %w: the file was removed, send it again", hash, errors.Join(wire.ErrDamaged, os.Remove(path)))
	}
	return nil
}

// List returns the hashes of all programs, in order.
func (s *CodeStore) List() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("programs: %w", err)
	}
	var hashes []string
	for _, e := range entries {
		if IsHash(e.Name()) {
			hashes = append(hashes, e.Name())
		}
	}
	return hashes, nil
}

// Trim removes the programs without use since before, except the needed ones.
func (s *CodeStore) Trim(before time.Time, needed func(hash string) bool) error {
	hashes, err := s.List()
	for _, hash := range hashes {
		path := filepath.Join(s.dir, hash)
		if info, e := os.Stat(path); e == nil && info.ModTime().Before(before) && !needed(hash) {
			err = errors.Join(err, os.Remove(path))
			if s.shared != nil {
				err = errors.Join(err, s.shared.Remove(hash))
			}
		}
	}
	return err
}
