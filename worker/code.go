package worker

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/state"
)

// maxCode is codeStore.max.
const maxCode = 1 << 30

// codeStore finds programs by their hash: programs of the worker's configuration, and programs
// sent by clients if the worker allows them. The latter are files in dir, named by their hash.
type codeStore struct {
	dir          string
	allowShipped bool
	// bytes of unneeded programs to keep in dir
	max int64

	// mu guards the fields below.
	mu     sync.Mutex
	paths  map[string]knownCode // programs of the configuration, by hash
	kept   map[string]knownCode // programs verified in dir since the start, by hash
	needed map[string]int       // number of jobs that need a program of dir
	loads  map[string]chan struct{}
}

// codeFormat is the format of the directory of a codeStore.
var codeFormat = state.Format{Kind: "programs", Version: 1}

// knownCode is a program and its file's state when it was hashed. Hashing 40 MB takes 150 ms on a
// processor without instructions for it, so an unchanged file is not hashed again.
type knownCode struct {
	path string
	info fs.FileInfo
}

// isUnchanged reports whether identity, size and time of the file are the same as when it was
// hashed.
func (k knownCode) isUnchanged() bool {
	info, err := os.Stat(k.path)
	return err == nil && k.info != nil && os.SameFile(info, k.info) && info.Size() == k.info.Size() && info.ModTime().Equal(k.info.ModTime())
}

// openCodeStore hashes the programs in paths. builtin is the program with the built-in pipelines;
// empty for none.
func openCodeStore(dir string, paths []string, builtin string, ships bool) (*codeStore, error) {
	s := &codeStore{dir: dir, allowShipped: ships, max: maxCode, paths: map[string]knownCode{}, kept: map[string]knownCode{}, needed: map[string]int{}, loads: map[string]chan struct{}{}}
	for _, path := range paths {
		hash, given, err := hashProgram(path)
		if err != nil {
			return nil, fmt.Errorf("program %s: %w; name a program that is there and can be read", path, err)
		}
		s.paths[hash] = given
	}
	if builtin != "" {
		s.paths[job.BuiltinCode] = knownCode{path: builtin}
	}
	if err := state.MakeDir(dir, 0o700); err != nil {
		return nil, err
	}
	if err := codeFormat.OpenFlatDir(dir); err != nil {
		return nil, fmt.Errorf("programs %s: %w", dir, err)
	}
	return s, s.removeUnneeded()
}

// hashProgram returns the hash and the state of the file at path.
func hashProgram(path string) (hash string, known knownCode, err error) {
	if known.path, err = filepath.Abs(path); err != nil {
		return "", known, err
	}
	file, err := os.Open(path)
	if err != nil {
		return "", known, err
	}
	defer func() { _ = file.Close() }()
	if known.info, err = file.Stat(); err != nil {
		return "", known, err
	}
	if known.info.Mode().Perm()&0o111 == 0 || !known.info.Mode().IsRegular() {
		return "", known, fmt.Errorf("mode %v: not an executable file", known.info.Mode())
	}
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return "", known, err
	}
	return hex.EncodeToString(h.Sum(nil)), known, nil
}

// configured returns the hashes of the configured programs.
func (s *codeStore) configured() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.paths))
}

// loaders returns this machine's loaders for dynamically linked programs.
func loaders() []string {
	var found []string
	for _, pattern := range []string{"/lib/ld-*.so*", "/lib64/ld-*.so*", "/libexec/ld-elf*.so*"} {
		paths, _ := filepath.Glob(pattern)
		found = append(found, paths...)
	}
	return found
}

// take returns the path of a program and keeps the program until release. If it is missing, fetch
// writes it. Each program has at most one fetch at a time.
func (s *codeStore) take(hash string, fetch func(w io.Writer) error) (string, error) {
	s.mu.Lock()
	g, given := s.paths[hash]
	s.mu.Unlock()
	if given {
		return g.path, s.verify(hash, g)
	}
	if raw, err := hex.DecodeString(hash); err != nil || len(raw) != sha256.Size {
		return "", &job.Failure{Kind: job.Fatal, Message: fmt.Sprintf("program %q: not a SHA-256 in hex", hash)}
	}
	if !s.allowShipped {
		return "", &job.Failure{Kind: job.Transient, Message: fmt.Sprintf("program %.12s: this worker neither has it nor accepts programs from clients; start it with -code PATH or -allow-shipped-code", hash)}
	}
	s.addUsers(hash, 1)
	path := filepath.Join(s.dir, hash)
	err := s.load(hash, path, fetch)
	if err != nil {
		s.addUsers(hash, -1)
		return "", fmt.Errorf("program %.12s: %w", hash, err)
	}
	return path, nil
}

// verify returns an error if a configured program's file has changed.
func (s *codeStore) verify(hash string, given knownCode) error {
	if hash == job.BuiltinCode || given.isUnchanged() {
		return nil
	}
	have, now, err := hashProgram(given.path)
	if err != nil || have != hash {
		return &job.Failure{Kind: job.Transient, Message: fmt.Sprintf("program %.12s: %s has changed since this worker started; restart the worker", hash, given.path)}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paths[hash] = now
	return nil
}

// load makes sure that the program is at path, and records its use for removeUnneeded.
func (s *codeStore) load(hash, path string, fetch func(w io.Writer) error) error {
	for {
		s.mu.Lock()
		other := s.loads[hash]
		if other == nil {
			break
		}
		s.mu.Unlock()
		<-other
	}
	done := make(chan struct{})
	s.loads[hash] = done
	kept := s.kept[hash]
	s.mu.Unlock()
	err := s.ensureFile(hash, path, kept.isUnchanged(), fetch)
	if err == nil {
		now := time.Now()
		_ = os.Chtimes(path, now, now)
		kept.path = path
		kept.info, err = os.Stat(path)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.loads, hash)
	close(done)
	if delete(s.kept, hash); err == nil {
		s.kept[hash] = kept
	}
	return err
}

// ensureFile fetches the program unless the file at path has the right hash. verified skips the
// check.
func (s *codeStore) ensureFile(hash, path string, right bool, fetch func(w io.Writer) error) error {
	if right {
		return nil
	}
	if have, _, err := hashProgram(path); err == nil && have == hash {
		return nil
	}
	file, err := os.CreateTemp(s.dir, "get-*.tmp")
	if err != nil {
		return err
	}
	h := sha256.New()
	err = fetch(io.MultiWriter(file, h))
	if have := hex.EncodeToString(h.Sum(nil)); err == nil && have != hash {
		err = fmt.Errorf("the received file has hash %.12s", have)
	}
	if err == nil {
		err = file.Chmod(0o700)
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		_ = os.Remove(file.Name())
	}
	return err
}

// release ends a job's use of a program that it took.
func (s *codeStore) release(hash string) {
	if s.addUsers(hash, -1) {
		_ = s.removeUnneeded()
	}
}

// addUsers adds to the number of jobs that need a program. It reports whether no job needs it
// now.
func (s *codeStore) addUsers(hash string, jobs int) (unneeded bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, given := s.paths[hash]; given {
		return false
	}
	if s.needed[hash] += jobs; s.needed[hash] <= 0 {
		delete(s.needed, hash)
		return true
	}
	return false
}

// removeUnneeded removes unneeded programs, the longest unused first, until the rest takes at
// most max bytes.
func (s *codeStore) removeUnneeded() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var unneeded []fs.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil && s.needed[e.Name()] == 0 && filepath.Ext(e.Name()) != ".tmp" && e.Name() != state.FormatName {
			unneeded = append(unneeded, info)
		}
	}
	slices.SortFunc(unneeded, func(a, b fs.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	var total int64
	for _, info := range unneeded {
		if total += info.Size(); total > s.max {
			delete(s.kept, info.Name())
			err = errors.Join(err, os.Remove(filepath.Join(s.dir, info.Name())))
		}
	}
	return err
}
