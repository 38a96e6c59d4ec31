package worker

import (
	"sync"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/worker/internal/shuffle"
)

// maxSeen bounds the extents and blocks of the manifests of a manifestCache: about 40 MB.
const maxSeen = 400_000

// manifestCache keeps manifests of other workers' outputs. A copy of an output has a manifest of its own.
type manifestCache struct {
	// mu guards the fields below.
	mu     sync.Mutex
	kept   map[heldBy]*job.Manifest
	weight int
}

// heldBy names an output as one worker holds it.
type heldBy struct {
	worker string
	a      job.Attempt
}

func newManifestCache() *manifestCache { return &manifestCache{kept: map[heldBy]*job.Manifest{}} }

// get returns nil when the manifest is not kept.
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
	for other, old := range c.kept { // whichever comes first
		if c.weight+w <= maxSeen {
			break
		}
		delete(c.kept, other)
		c.weight -= shuffle.Weight(old)
	}
	c.kept[key] = m
	c.weight += w
}
