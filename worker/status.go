package worker

import (
	"maps"

	"github.com/layshaft/layshaft/internal/machine"
)

// Status is the state of a worker process.
type Status struct {
	Name  string // name of the worker's process
	Zone  string // empty when there are no zones
	Slots int    // number of attempts at once
	// launched and not reported yet
	Attempts []Running
	Draining bool
	Tags     []string
	Datasets map[string]string // directories, by name
	// bytes of outputs, and their limit; zero means no limit but the disk
	Used, Quota int64
	Free        int64 // bytes that outputs may still take
	// bytes of outputs that were served to others, and read from other workers
	Sent, Got int64
	// Spilled counts the bytes that attempts wrote to disk because their memory was full.
	Spilled int64
	// Memory is how many bytes the attempts of all slots may hold before they spill.
	Memory int64
	// Limit is the memory of the machine, or of its cgroup, in bytes.
	Limit int64
	// Children is the number of processes of user code, and ChildMemory what they hold, in bytes.
	Children    int
	ChildMemory int64
}

// Status returns the state of the worker.
func (n *Node) Status() Status {
	s := Status{Name: n.name, Zone: n.cfg.Zone, Slots: n.cfg.Slots, Attempts: n.w.Progress(), Tags: n.cfg.Tags, Datasets: maps.Clone(n.cfg.Datasets),
		Sent: n.outputs.sent.Load(), Got: n.peers.received.Load()}
	select {
	case <-n.drain:
		s.Draining = true
	default:
	}
	s.Spilled, s.Memory, s.Limit = n.w.Spilled(), n.cfg.Memory, machine.Memory()
	if r, ok := n.jobs.runner.(interface{ Memory() (int, int64) }); ok { // not in this process
		s.Children, s.ChildMemory = r.Memory()
	}
	s.Used, s.Quota = n.w.store.Space()
	s.Free, _ = n.w.store.Free() // zero when not known
	return s
}
