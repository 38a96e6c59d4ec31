package tasks

import (
	"path/filepath"
	"testing"

	"github.com/layshaft/layshaft/e2e/internal/loopdisk"
)

// The power of the coordinator's machine is cut again and again: what it has acknowledged is on its
// disk, and what was done is not done again.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	disk := loopdisk.New(t, filepath.Join(t.TempDir(), "disk"), 512<<20) // 256 MiB are kept in reserve
	c := newClusterIn(t, filepath.Join(disk.Dir, "coordinator"))
	c.storm(t, scale(4, 40), func() {
		c.coordinator.Kill()
		disk.Cut()
		c.start(t)
	})
}
