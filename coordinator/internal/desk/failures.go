package desk

import (
	"strings"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/queue"
)

// Failure is an attempt that failed, for people. A desk remembers the latest ones of this life.
type Failure struct {
	Task   queue.ID
	N      int       // number of the attempt
	At     time.Time // its end
	Worker string    // name of its worker
	Error  string    // cut
}

const (
	// maxFailures is the limit of remembered failures. With their errors they take at most 7 MB.
	maxFailures = 10_000
	// maxFailure is the limit of the error of one, in bytes.
	maxFailure = 512
)

// failures is a ring of the latest failures.
type failures struct {
	ring []Failure
	next int // place of the next one
}

func (f *failures) add(x Failure) {
	if len(f.ring) < maxFailures {
		f.ring = append(f.ring, x)
		return
	}
	f.ring[f.next] = x
	f.next = (f.next + 1) % maxFailures
}

// noteFailure remembers the failure of the attempt that a peer runs.
func (d *Desk) noteFailure(from queue.Peer, id queue.ID, text []byte) {
	info, ok := d.core.Status(id)
	if !ok || info.State != queue.Running || info.Worker != from {
		return
	}
	x := Failure{Task: id, N: info.Attempts, At: d.now, Worker: d.PeerName(from), Error: string(text[:min(len(text), maxFailure)])}
	if len(text) > maxFailure {
		x.Error = strings.ToValidUTF8(x.Error, "") + "…"
	}
	d.failures.add(x)
}

// Failures returns the remembered failures of a task, the oldest first.
func (d *Desk) Failures(id queue.ID) (out []Failure) {
	n := len(d.failures.ring)
	for i := range n {
		if x := &d.failures.ring[(d.failures.next+i)%n]; x.Task == id {
			out = append(out, *x)
		}
	}
	return out
}
