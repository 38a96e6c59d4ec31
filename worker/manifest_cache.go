package worker

import (
	"sync"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/worker/internal/shuffle"
)

// maxCached limits a manifestCache by the number of extents and blocks in its manifests: about 40
// MB.
const maxCached = 400_000

// manifestCache keeps manifests of other workers' outputs. Each copy of an output has its own
// manifest.
type manifestCache struct {
	// mu guards the fields below.
	mu     sync.Mutex
	kept   map[heldBy]*job.Manifest
	weight int
}

// heldBy identifies an output on one worker.
type heldBy struct {
	worker string
	a      job.Attempt
}

func newManifestCache() *manifestCache { return &manifestCache{kept: map[heldBy]*job.Manifest{}} }

// get returns nil if the manifest is not cached.
func (c *manifestCache) get(worker string, a job.Attempt) *job.Manifest {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kept[heldBy{worker, a}]
}

func (c *manifestCache) put(worker string, m *job.Manifest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := heldBy{worker, m.Attempt}
	if c.kept[key] != nil {
		return
	}
	w := shuffle.Weight(m)
	for other, old := range c.kept { // in random order
		if c.weight+w <= maxCached {
			break
		}
		delete(c.kept, other)
		c.weight -= shuffle.Weight(old)
	}
	c.kept[key] = m
	c.weight += w
}
