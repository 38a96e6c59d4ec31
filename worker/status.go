package worker

import "maps"

// Status is how a worker process stands.
type Status struct {
	Name        string
	Zone        string
	Slots       int
	Attempts    []Running // that it was asked for and that have not been reported
	Draining    bool
	Tags        []string
	Datasets    map[string]string // directories, by name
	Used, Quota int64             // bytes of outputs, and how many they may take; zero means no limit but the disk
	Free        int64             // bytes that outputs may still take
	Sent, Got   int64             // bytes of outputs: served to others, and read from other workers
}

// Status returns how the worker stands.
func (n *Node) Status() Status {
	s := Status{Name: n.name, Zone: n.cfg.Zone, Slots: n.cfg.Slots, Attempts: n.w.Progress(), Tags: n.cfg.Tags, Datasets: maps.Clone(n.cfg.Datasets),
		Sent: n.outputs.sent.Load(), Got: n.peers.got.Load()}
	select {
	case <-n.drain:
		s.Draining = true
	default:
	}
	s.Used, s.Quota = n.w.store.Space()
	s.Free, _ = n.w.store.Free() // zero when not known
	return s
}
