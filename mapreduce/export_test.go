package mapreduce

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
