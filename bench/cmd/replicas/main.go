//go:build unix

// Command replicas measures three coordinators beside a single one, all on this machine.
//
//	replicas [-rounds N] [-for DURATION] [-dir DIR] [-layshaft PROGRAM] [-single PROGRAM] [WORK ...]
//
// The works are:
//
//	enqueue    durable tasks of 256 B and 16 KiB, with 1 and 64 callers
//	pause      the longest wait of a caller while another coordinator takes over, and while all three
//	           are restarted one by one
//	join       how long an empty coordinator takes to get the state of the others, and the rate of
//	           tasks meanwhile
//	followers  memory and disk of followers beside a single coordinator with the same tasks
//
// It prints Markdown: medians, with the least and the most in brackets. Bodies are half random, so
// that compression of the disk helps little.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// bench is what all works share.
type bench struct {
	program, single string
	dir             string
	rounds          int
	duration        time.Duration
	state           int64
	callers         int
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("replicas: ")
	b := &bench{}
	flag.StringVar(&b.program, "layshaft", "", "`PROGRAM` to measure instead of a new build")
	flag.StringVar(&b.single, "single", "", "`PROGRAM` of the single coordinator (default: the same)")
	flag.StringVar(&b.dir, "dir", "", "`DIR` for data (default the system's temporary directory)")
	flag.IntVar(&b.rounds, "rounds", 5, "`N` rounds")
	flag.IntVar(&b.callers, "callers", 64, "`N` callers of the works pause and join")
	flag.DurationVar(&b.duration, "for", 2*time.Second, "`DURATION` of each measurement")
	flag.Int64Var(&b.state, "state", 512, "`MIB` of state of the work join")
	flag.Parse()
	if err := b.run(flag.Args()); err != nil {
		log.Fatal(err)
	}
}

func (b *bench) run(names []string) (err error) {
	works := []struct {
		name string
		run  func() error
	}{{"enqueue", b.enqueue}, {"pause", b.pause}, {"join", b.join}, {"followers", b.followers}}
	if b.dir, err = os.MkdirTemp(b.dir, "replicas-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if b.program == "" {
		b.program = filepath.Join(b.dir, "layshaft")
		if out, err := exec.Command("go", "build", "-o", b.program, "./cmd/layshaft").CombinedOutput(); err != nil {
			return fmt.Errorf("go build: %w\n%s", err, out)
		}
	}
	if b.single == "" {
		b.single = b.program
	}
	for _, w := range works {
		if len(names) == 0 || slices.Contains(names, w.name) {
			if err := w.run(); err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
		}
	}
	return nil
}
