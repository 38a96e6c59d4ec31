package filesys

import "time"

// Settled is the age from which on the content of a file can be remembered under its [StateOf].
const Settled = 2 * time.Second

// UntilSettled returns how long to wait until another change of a file gets another time than
// changed. A tick of a local file system takes at most 10 ms. Times in whole seconds come from file
// systems with longer ticks.
func UntilSettled(changed time.Time) time.Duration {
	tick := 20 * time.Millisecond
	if changed.Nanosecond() == 0 {
		tick = Settled
	}
	if age := time.Since(changed); age >= 0 && age < tick {
		return tick - age
	}
	return 0
}
