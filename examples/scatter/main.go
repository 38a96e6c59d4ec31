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
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...) // a worker then drains
	context.AfterFunc(ctx, stop)                                        // a second ^C ends the process at once
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

// units are the units of sizes: K and KiB are 1,024 bytes, KB is 1,000.
var units = map[string]float64{"": 1, "B": 1, "K": 1 << 10, "KIB": 1 << 10, "KB": 1e3, "M": 1 << 20, "MIB": 1 << 20, "MB": 1e6,
	"G": 1 << 30, "GIB": 1 << 30, "GB": 1e9, "T": 1 << 40, "TIB": 1 << 40, "TB": 1e12}

// parseSize returns a number of bytes, such as 64K, as the flags of layshaft read it.
func parseSize(text string) (int, error) {
	text = strings.TrimSpace(text)
	unit := strings.TrimLeft(text, "0123456789.")
	number := strings.TrimSuffix(text, unit)
	n, err := strconv.ParseFloat(number, 64)
	factor := units[strings.ToUpper(strings.TrimSpace(unit))]
	if n *= factor; err != nil || factor == 1 && strings.Contains(number, ".") || n < 1 || n > 1<<40 {
		return 0, fmt.Errorf("%q is not a size such as 64K or 4M", text)
	}
	return int(n), nil
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
