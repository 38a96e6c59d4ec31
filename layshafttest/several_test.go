package layshafttest

import (
	"testing"
	"testing/synctest"
	"time"
)

// A job runs on while coordinators are killed, restarted, cut off, and lose their disks. No
// committed task runs again, and the workers keep their attempts.
func TestSeveralCoordinators(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &history{t: t}
		c := Start(t, 3, h.option(), Coordinators(3))
		_, wait := beginAt(t, c.Target(), groups, slow)
		for _, fault := range []func(x *Coordinator){
			func(x *Coordinator) { x.Kill(); time.Sleep(3 * time.Second); x.Restart() },
			func(x *Coordinator) { x.DestroyDisk(); time.Sleep(3 * time.Second); x.Restart() },
			func(x *Coordinator) { x.Restart() },
			func(x *Coordinator) { c.isolate(x, true); time.Sleep(3 * time.Second); c.isolate(x, false) },
		} {
			time.Sleep(2 * time.Second)
			was := c.Coordinator()
			fault(was)
			c.WaitFor("another leader with all workers", func() bool {
				now := c.Coordinator()
				return now != was && len(now.Workers()) == 3
			})
		}
		slow.check(t, wait())
		if h.again > 0 {
			t.Errorf("%d committed tasks ran again", h.again)
		}
		for _, a := range c.Attempts("") {
			if a.Err != nil {
				t.Errorf("attempt %s#%d failed: %v", a.Task, a.Number, a.Err)
			}
		}
	})
}
