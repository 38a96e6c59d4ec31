// Command scatter shows tasks on a cluster. It builds a small MapReduce by hand, and a search that
// asks many files at once and shows the answers that arrive in time. Copy from it.
//
//	layshaft dev                                              a cluster on this machine
//	go run ./examples/scatter work                            a worker; start as many as you like
//	go run ./examples/scatter count 'FILES-OR-GLOBS'...       the most frequent words
//	go run ./examples/scatter search 'WORDS' 'FILES'...       lines with all the words
//
// Every worker must see the files under the same paths.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/layshaft/layshaft/tasks"
)

func main() {
	log.SetFlags(0)
	cluster := tasks.Flags(flag.CommandLine)
	top := flag.Int("top", 10, "`NUMBER` of lines to print")
	piece := 4 << 20
	flag.Func("piece", "with count: `SIZE` of one task, such as 64K or 4M (default 4M)", func(text string) (err error) {
		piece, err = parseSize(text)
		return err
	})
	deadline := flag.Duration("deadline", 200*time.Millisecond, "with search: `TIME` after which what was found is enough")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second ^C ends the process at once
	c, err := tasks.Dial(*cluster)
	if err != nil {
		log.Fatal("scatter: ", err)
	}
	switch what := flag.Arg(0); {
	case what == "work" && flag.NArg() == 1:
		err = work(ctx, *cluster)
	case what == "count" && flag.NArg() > 1:
		err = count(ctx, c, flag.Args()[1:], piece, *top)
	case what == "search" && flag.NArg() > 2:
		err = search(ctx, c, strings.Fields(flag.Arg(1)), flag.Args()[2:], *deadline, *top)
	default:
		log.Fatal("scatter: say work, count FILES... or search WORDS FILES...; -h lists the flags")
	}
	if err != nil {
		log.Fatal("scatter: ", err)
	}
}

// parseSize returns a number of bytes, such as 64K.
func parseSize(text string) (int, error) {
	digits := strings.TrimRight(text, "iBKMG")
	shift, ok := map[string]int{"": 0, "K": 10, "M": 20, "G": 30}[strings.TrimRight(text[len(digits):], "iB")]
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 1 || n > math.MaxInt>>shift {
		return 0, fmt.Errorf("%q is not a size such as 64K or 4M", text)
	}
	return n << shift, nil
}

// work runs a worker with the functions, which are ordinary Go functions with a context.
func work(ctx context.Context, cluster tasks.Cluster) error {
	cluster.Log = slog.Default()
	w := tasks.NewWorker(cluster)
	tasks.Handle(w, "scatter.split", split)
	tasks.Handle(w, "scatter.map", countPiece)
	tasks.Handle(w, "scatter.reduce", merge)
	tasks.Handle(w, "scatter.search", searchFile)
	return w.Run(ctx)
}
