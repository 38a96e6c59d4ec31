package layshafttest

import (
	"github.com/layshaft/layshaft/coordinator"
)

// Option configures Start.
type Option func(*options)

type options struct {
	// coordinators is the number of coordinators.
	coordinators int
	tasks        bool
	slots        int
	memory       int64
	zones        []string
	datasets     map[string]func(worker int) string
	policy       coordinator.Policy
	snapshot     int
	chaos        *chaos
	appended     func(events [][]byte) verdict
}

// Slots sets the number of parallel attempts of each worker. The default is 2.
func Slots(n int) Option { return func(o *options) { o.slots = n } }

// Memory sets the memory of each attempt, in bytes, before it spills. The default is 16 MiB.
func Memory(bytes int64) Option { return func(o *options) { o.memory = bytes } }

// Zones puts the workers into zones, in turn.
func Zones(zones ...string) Option { return func(o *options) { o.zones = zones } }

// Dataset makes workers offer directories. dir returns the directory of a worker, or ""
// for none. The dataset is read-only, unless :rw follows the directory.
func Dataset(name string, dir func(worker int) string) Option {
	return func(o *options) {
		if o.datasets == nil {
			o.datasets = map[string]func(int) string{}
		}
		o.datasets[name] = dir
	}
}

// Policy sets the scheduling policy.
func Policy(p coordinator.Policy) Option { return func(o *options) { o.policy = p } }

// SnapshotEvery sets the number of events between snapshots of the journal; see
// coordinator.Config.
func SnapshotEvery(events int) Option { return func(o *options) { o.snapshot = events } }
