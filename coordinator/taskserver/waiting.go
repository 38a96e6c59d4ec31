package taskserver

import (
	"time"

	"github.com/layshaft/layshaft/internal/plain"
)

const (
	// lookEvery is the time between two looks for functions whose tasks cannot start.
	lookEvery = 5 * time.Second
	// maxLogged limits the log lines of one look.
	maxLogged = 10
)

// logWaiting logs functions whose tasks cannot start before somebody acts, with the reason and the
// command that helps. Many clients, such as Gearman clients, cannot get it in their protocol. A
// function is logged when two looks in a row found it stuck, and once for each reason.
func (t *Server) logWaiting() {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	seen, logged := map[string]string{}, map[string]string{}
	for {
		select {
		case <-t.stop:
			return
		case <-tick.C:
		}
		before, lines := seen, 0
		seen = map[string]string{}
		t.desk.Lock()
		t.desk.WaitingFunctions(func(name string, waiting int, stuck bool, why string) {
			if !stuck {
				return
			}
			if seen[name] = why; before[name] == why && logged[name] != why && lines < maxLogged {
				t.log.Warn("tasks wait", "function", plain.Text(name), "waiting", waiting, "why", plain.Text(why))
				logged[name] = why
				lines++
			}
		})
		t.desk.Unlock()
		for name := range logged {
			if seen[name] == "" {
				delete(logged, name)
			}
		}
	}
}
