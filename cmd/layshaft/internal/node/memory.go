package node

import (
	"context"
	"os"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
	"time"
)

const (
	// slack is the garbage in bytes allowed beside a large heap. Small heaps may double, as by
	// default in Go.
	slack = 48 << 20
	// quiet is the allocation per second, in bytes, up to which a process counts as idle.
	quiet = 4 << 20
)

// gcPercent returns the allowed garbage beside live bytes, in percent of them.
func gcPercent(live uint64) int {
	return int(max(10, min(100, slack*100/max(live, 1))))
}

// limitMemory keeps the memory of the process close to its use until ctx ends. Most of a
// coordinator's heap is large and free of pointers, so frequent collection is cheap; memory of a
// burst is returned to the system afterwards. limitMemory does nothing if GOGC is set.
func limitMemory(ctx context.Context) error {
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
		// Badger frees the buffers of new tables one by one, a few seconds later.
		if allocated = total; calm == 3 && free+objects > live+slack/2 || calm == 20 && objects > slack {
			debug.FreeOSMemory()
		}
	}
}
