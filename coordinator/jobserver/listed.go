package jobserver

import (
	"bytes"
	"encoding/gob"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/zeebo/xxh3"

	"github.com/layshaft/layshaft/coordinator/datadir"
)

// maxListed is the limit of remembered names, over all workers and globs. The oldest globs are
// forgotten first.
const maxListed = 4 << 20

// listed remembers which names each worker had in the last list of each glob. With files it
// survives restarts: each glob has one. A lost or damaged file costs only the memory of its glob.
type listed struct {
	files datadir.Files // nil means memory only
	log   *slog.Logger

	// mu guards the fields below.
	mu    sync.Mutex
	names map[listKey]map[string][]uint64 // hashes by worker, sorted
	order []listKey                       // the oldest first
	total int
}

type listKey struct{ dataset, glob string }

// listFile is the content of a file. A file of another format is forgotten, as a damaged one.
type listFile struct {
	Format        int // listFormat
	Dataset, Glob string
	Names         map[string][]uint64
}

// listFormat is the format of the files. Another content of them needs the next number.
const listFormat = 1

// listedPrefix begins the names of the files.
const listedPrefix = "listed/"

// file returns the name of the file of a glob.
func (l *listed) file(key listKey) string {
	sum := xxh3.HashString128(key.dataset + "\x00" + key.glob).Bytes()
	return listedPrefix + hex.EncodeToString(sum[:])
}

// open reads the files of an earlier process.
func (l *listed) open(files datadir.Files, log *slog.Logger) error {
	l.files, l.log = files, log
	names, err := files.List(listedPrefix)
	if err != nil {
		return err
	}
	for _, name := range names {
		var f listFile
		b, err := files.Read(name)
		if err == nil {
			err = gob.NewDecoder(bytes.NewReader(b)).Decode(&f)
		}
		if key := (listKey{f.Dataset, f.Glob}); err != nil || f.Format != listFormat || l.file(key) != name {
			log.Warn("list of files is not readable, and forgotten", "file", name, "err", err)
			_ = files.Remove(name)
		} else {
			l.keep(key, f.Names)
		}
	}
	return nil
}

// save writes the file of a glob. A failure is not serious.
func (l *listed) save(key listKey) {
	if l.files == nil {
		return
	}
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(listFile{listFormat, key.dataset, key.glob, l.names[key]})
	if err == nil {
		err = l.files.Write(l.file(key), b.Bytes())
	}
	if err != nil {
		l.log.Warn("list of files not stored; a restart forgets it", "dataset", key.dataset, "glob", key.glob, "err", err)
	}
}

// note stores the present names of workers, as hashes. It keeps the slices.
func (l *listed) note(key listKey, have map[string][]uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	changed := false
	for worker, names := range have {
		slices.Sort(names)
		had, known := l.names[key][worker]
		changed = changed || !known || !slices.Equal(had, names)
	}
	if !changed {
		return
	}
	l.keep(key, have)
	l.save(key)
}

// keep stores names in memory.
func (l *listed) keep(key listKey, have map[string][]uint64) {
	if l.names == nil {
		l.names = map[listKey]map[string][]uint64{}
	}
	all := l.names[key]
	if all == nil {
		all = map[string][]uint64{}
		l.names[key] = all
		l.order = append(l.order, key)
	}
	for worker, names := range have {
		l.total -= size(all, worker)
		all[worker] = names
		l.total += size(all, worker)
	}
	for l.total > maxListed {
		oldest := l.order[0]
		for worker := range l.names[oldest] {
			l.total -= size(l.names[oldest], worker)
		}
		delete(l.names, oldest)
		if l.files != nil {
			if err := l.files.Remove(l.file(oldest)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				l.log.Warn("list of files not removed", "err", err)
			}
		}
		l.order = l.order[1:]
	}
}

// size returns a worker's share of maxListed.
func size(all map[string][]uint64, worker string) int {
	if names, ok := all[worker]; ok {
		return len(names) + 1
	}
	return 0
}

// missing returns how many of the worker's earlier names no worker has now; ok is false when its
// earlier names are unknown.
func (l *listed) missing(key listKey, worker string, now map[string][]uint64) (n int, ok bool) {
	l.mu.Lock()
	had, ok := l.names[key][worker]
	l.mu.Unlock()
	if len(had) == 0 {
		return 0, ok
	}
	there := map[uint64]bool{}
	for names := range maps.Values(now) {
		for _, h := range names {
			there[h] = true
		}
	}
	for _, h := range had {
		if !there[h] {
			n++
		}
	}
	return n, true
}
