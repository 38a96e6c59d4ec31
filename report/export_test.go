package report

import "testing"

// SetBroadcast changes the size of files up to which an input of a join is given to all tasks,
// until the test ends.
func SetBroadcast(t *testing.T, bytes int64) {
	before := defaultBroadcast
	defaultBroadcast = bytes
	t.Cleanup(func() { defaultBroadcast = before })
}
