package worker

import (
	"slices"
	"sync"

	"github.com/layshaft/layshaft/internal/job"
)

// drops tracks jobs that are being dropped. Launches of such a job, which was submitted again,
// wait here until the drop is done.
type drops struct {
	// mu guards the fields below.
	mu      sync.Mutex
	waiting map[job.ID][]job.Launch
}

func newDrops() *drops { return &drops{waiting: map[job.ID][]job.Launch{}} }

// begin reports false if the job is being dropped already.
func (d *drops) begin(id job.ID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, known := d.waiting[id]
	if !known {
		d.waiting[id] = nil
	}
	return !known
}

// end returns the launches that waited.
func (d *drops) end(id job.ID) []job.Launch {
	d.mu.Lock()
	defer d.mu.Unlock()
	ls := d.waiting[id]
	delete(d.waiting, id)
	return ls
}

// holdLaunch keeps a launch if its job is being dropped, and reports whether it is.
func (d *drops) holdLaunch(l job.Launch) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	ls, known := d.waiting[l.Attempt.Job]
	if known {
		d.waiting[l.Attempt.Job] = append(ls, l)
	}
	return known
}

// cancel removes a launch that hold kept, and reports whether there was one.
func (d *drops) cancel(a job.Attempt) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	ls := d.waiting[a.Job]
	i := slices.IndexFunc(ls, func(l job.Launch) bool { return l.Attempt == a })
	if i >= 0 {
		d.waiting[a.Job] = slices.Delete(ls, i, i+1)
	}
	return i >= 0
}

// running returns the attempts that hold keeps.
func (d *drops) running() (as []job.Attempt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, ls := range d.waiting {
		for i := range ls {
			as = append(as, ls[i].Attempt)
		}
	}
	return as
}

// dropJob drops a job in the background. Attempts of the job that are launched meanwhile start
// afterwards.
func (n *Node) dropJob(id job.ID) {
	if !n.drops.begin(id) {
		return
	}
	n.chores.Go(func() {
		if err := n.w.DropJob(id); err != nil {
			n.log.Warn("job not dropped", "job", id, "err", err)
		}
		n.jobs.end(id)
		for _, l := range n.drops.end(id) {
			n.w.Launch(l)
		}
	})
}

// dropIdle drops jobs without outputs or attempts on this worker; only their code is left. After
// a time without a coordinator, such a job may have ended.
func (n *Node) dropIdle() {
	busy := n.w.Jobs()
	for _, r := range n.w.Progress() {
		busy = append(busy, r.Attempt.Job)
	}
	for _, id := range n.jobs.listIDs() {
		if !slices.Contains(busy, id) {
			n.dropJob(id)
		}
	}
}
