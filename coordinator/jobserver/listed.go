package jobserver

import (
	"maps"
	"slices"
	"sync"
)

// maxListed is the limit of remembered names, over all workers and globs. The oldest globs are
// forgotten first.
const maxListed = 4 << 20

// listed remembers which names each worker had in the last list of each glob, for the life of the
// process. The zero value is ready.
type listed struct {
	// mu guards the fields below.
	mu    sync.Mutex
	names map[listKey]map[string][]uint64 // hashes by worker, sorted
	order []listKey                       // the oldest first
	total int
}

type listKey struct{ dataset, glob string }

// note stores the present names of workers, as hashes. It keeps the slices.
func (l *listed) note(key listKey, have map[string][]uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
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
		slices.Sort(names)
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
