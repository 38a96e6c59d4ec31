package mapreduce

import (
	"fmt"
	"sync"
	"time"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/plain"
)

const (
	planningQuiet = 2 * time.Second // planning without a line
	planningEvery = 5 * time.Second // time between lines
)

// showPlanning prints what planning does on standard error if it takes long, until the returned
// function is called.
func showPlanning(t *settings, in *filesys.Input) (end func()) {
	stop := make(chan struct{})
	var shown sync.WaitGroup
	shown.Go(func() {
		for wait := planningQuiet; ; wait = planningEvery {
			select {
			case <-stop:
				return
			case <-time.After(wait):
			}
			if phase := in.Phase(); phase != "" {
				fmt.Fprintln(t.Err, "layshaft:", plain.Lines(phase))
			}
		}
	})
	return func() {
		close(stop)
		shown.Wait()
	}
}
