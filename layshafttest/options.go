package layshafttest

import (
	"github.com/layshaft/layshaft/coordinator"
)

// Option changes what Start starts.
type Option func(*options)

type options struct {
	slots    int
	memory   int64
	zones    []string
	datasets map[string]func(worker int) string
	policy   coordinator.Policy
	snapshot int
	chaos    *chaos
	appended func(events [][]byte) verdict
}

// Slots sets how many attempts each worker runs at once. The default is 2.
func Slots(n int) Option { return func(o *options) { o.slots = n } }

// Memory sets how many bytes each attempt may hold before it spills. The default is 16 MiB.
func Memory(bytes int64) Option { return func(o *options) { o.memory = bytes } }

// Zones puts the workers into zones, in turn.
func Zones(zones ...string) Option { return func(o *options) { o.zones = zones } }

// Dataset has workers offer directories: dir returns that of a worker, or "" for one that offers nothing.
func Dataset(name string, dir func(worker int) string) Option {
	return func(o *options) {
		if o.datasets == nil {
			o.datasets = map[string]func(int) string{}
		}
		o.datasets[name] = dir
	}
}

// Policy sets the knobs of scheduling.
func Policy(p coordinator.Policy) Option { return func(o *options) { o.policy = p } }

// SnapshotEvery sets after how many events the journal is replaced by a snapshot, as coordinator.Config does.
func SnapshotEvery(events int) Option { return func(o *options) { o.snapshot = events } }
