package node

import (
	"context"
	"os"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
	"time"
)

const (
	// slack is how much garbage may gather beside a large heap before it is collected, in bytes. Small heaps may double, as Go has it.
	slack = 48 << 20
	// quiet is how many bytes may be allocated in a second by a process that does nothing to speak of.
	quiet = 4 << 20
)

// gcPercent is the garbage that may gather beside live bytes, in percent of them.
func gcPercent(live uint64) int {
	return int(max(10, min(100, slack*100/max(live, 1))))
}

// lean keeps the process close to the memory that it uses, until ctx ends. Most of what a coordinator holds is large and free of pointers, so that
// collecting more often costs little; and what a burst of work left is given back to the system when it is over. It leaves a process alone that has GOGC set.
func lean(ctx context.Context) error {
	if os.Getenv("GOGC") != "" {
		return nil
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	percent, allocated, calm := 100, uint64(0), 0
	read := []runtimemetrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/allocs:bytes"}, {Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}}
	for {
		select {
		case <-ctx.Done():
			debug.SetGCPercent(100)
			return nil
		case <-tick.C:
		}
		runtimemetrics.Read(read)
		live, total, free, objects := read[0].Value.Uint64(), read[1].Value.Uint64(), read[2].Value.Uint64(), read[3].Value.Uint64()
		if p := gcPercent(live); p < percent*9/10 || p > percent*11/10 {
			percent = p
			debug.SetGCPercent(p)
		}
		if calm++; total-allocated > quiet {
			calm = 0
		}
		// Badger lets go of what it built tables in one by one, a few seconds later.
		if allocated = total; calm == 3 && free+objects > live+slack/2 || calm == 20 && objects > slack {
			debug.FreeOSMemory()
		}
	}
}
