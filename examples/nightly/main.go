// Command nightly waits for new orders, adds them up by customer, writes a report, and queues a
// task for each customer whose total has changed since the run before.
//
//	go run ./examples/nightly -orders 'orders/*.csv' -out report.csv -work /tmp/nightly
//	go run ./examples/nightly -draw > nightly.svg
//
// With -cluster, the pipeline and the tasks of the function letter run there. Without, the letters
// are printed.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/layshaft/layshaft/mapreduce"
	_ "github.com/layshaft/layshaft/mapreduce/inspect" // -report, -trace, -web, -profile
	"github.com/layshaft/layshaft/tasks"
	"github.com/layshaft/layshaft/workflow"
)

// Params are the parameters of a run.
type Params struct{ Orders, Out string }

// nightly returns the workflow. target is where the pipeline runs; letter queues one letter.
func nightly(target mapreduce.Target, letter func(ctx context.Context, to Total, key string) error) *workflow.Definition[Params] {
	return workflow.Define("nightly", func(w *workflow.Workflow, in Params) {
		var orders *workflow.Result[workflow.Files]
		orders = workflow.Step(w, "orders", func(ctx context.Context) (workflow.Files, error) {
			before, _ := orders.Last(ctx)
			return workflow.WaitForFiles(ctx, target, before, in.Orders)
		}, workflow.Timeout(6*time.Hour))

		totals := workflow.Step(w, "totals", func(ctx context.Context) ([]Total, error) {
			rows, err := Totals.Collect(ctx, target, orders.Value(ctx).Paths())
			slices.SortFunc(rows, func(a, b Total) int { return strings.Compare(a.Customer, b.Customer) })
			return rows, err
		}, workflow.After(orders), workflow.Retry(3))

		workflow.Step(w, "report", func(ctx context.Context) (workflow.None, error) {
			return workflow.None{}, writeReport(ctx, target, orders.Value(ctx).Paths(), in.Out)
		}, workflow.After(orders), workflow.Retry(3))

		workflow.Step(w, "letters", func(ctx context.Context) (int, error) {
			last, _ := totals.Last(ctx)
			known := map[Total]bool{}
			for _, t := range last {
				known[t] = true
			}
			sent := 0
			for _, t := range totals.Value(ctx) {
				if known[t] {
					continue
				}
				if err := letter(ctx, t, workflow.Key(ctx)+"/"+t.Customer); err != nil {
					return sent, err
				}
				sent++
			}
			return sent, nil
		}, workflow.After(totals), workflow.Retry(5))
	})
}

func main() {
	mapreduce.Main()
	target := mapreduce.Flags(flag.CommandLine)
	orders := flag.String("orders", "orders/*.csv", "orders as CSV, with the columns customer, amount and day")
	out := flag.String("out", "report.csv", "`FILE` for the report")
	work := flag.String("work", "nightly-work", "`DIR` for the results of steps")
	draw := flag.Bool("draw", false, "print a picture of the steps as SVG, mark the ones that are done, and run nothing")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "nightly: unexpected argument %q; name the orders with -orders\n", flag.Arg(0))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, target, Params{*orders, *out}, *work, *draw); err != nil {
		fmt.Fprintln(os.Stderr, "nightly:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, target mapreduce.Target, in Params, work string, draw bool) error {
	letter := func(_ context.Context, to Total, _ string) error {
		fmt.Printf("letter to %s: %.2f\n", to.Customer, float64(to.Amount)/100)
		return nil
	}
	value := func(name string) string { return flag.Lookup(name).Value.String() } // of a flag of the target
	if address := value("cluster"); address != "" {
		files := tasks.TLSFiles{CA: value("tls-ca"), Cert: value("tls-cert"), Key: value("tls-key")}
		client, err := tasks.Dial(tasks.Cluster{Address: address, TLS: files})
		if err != nil {
			return err
		}
		defer client.Close()
		letter = func(ctx context.Context, to Total, key string) error {
			_, err := tasks.Enqueue(ctx, client, "letter", fmt.Appendf(nil, "%s\t%d", to.Customer, to.Amount), tasks.Once(key))
			return err
		}
	}
	d := nightly(target, letter)
	if draw {
		picture, err := d.Draw(work, in)
		if err != nil {
			return err
		}
		_, err = os.Stdout.Write(picture)
		return err
	}
	return d.Run(ctx, workflow.Config{Dir: work, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}, in)
}
