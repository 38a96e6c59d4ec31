package mapreduce

import "context"

// ForgetRuns makes the next run the first one of its process.
func ForgetRuns() {
	finishedRuns.mu.Lock()
	defer finishedRuns.mu.Unlock()
	finishedRuns.n = nil
}

// CatchInterrupts does to the process what Main does. The returned function undoes it.
func CatchInterrupts() (undo func()) {
	catchInterrupts.Store(true)
	return func() { catchInterrupts.Store(false) }
}

// SetProgram sets the hash of this program until restore is called.
func SetProgram(hash string) (restore func()) {
	was := executable
	executable = func() string { return hash }
	return func() { executable = was }
}

// Probes returns how many stages of the plan look up records in the left side of a join.
func (d *Definition[P, T]) Probes(params []byte) (n int, err error) {
	c, err := d.untyped.plan(context.Background(), params, d.untyped.gather)
	if err != nil {
		return 0, err
	}
	for _, s := range c.stages {
		for id := range s.sides {
			if w := c.plan.nodes[id].wide; w != nil && w.probe != nil {
				n++
			}
		}
	}
	return n, nil
}

// OnFinishStep sets what is called before each change at the end of a run.
func OnFinishStep(f func(step string)) { finishStep = f }
