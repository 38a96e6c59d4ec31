// Command compare runs commands in turn (A B C, A B C, ...), checks that their outputs are the
// same, and prints a table of wall seconds, CPU seconds, peak memory and the ratios of the wall
// times, round by round, to the first command's.
//
//	compare [FLAGS] NAME='COMMAND >{out}' NAME='COMMAND {out}'...
//
// Commands run in a shell. {out} stands for a path where nothing is yet, and {tmp} for an empty
// directory; both are removed after the run. An output is a file, or a directory of files in the
// order of their names. Anything but the same output ends the comparison with status 1.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/layshaft/layshaft/bench/internal/compare"
)

func main() {
	log.SetFlags(0)
	c := compare.Config{Sync: true, Log: func(s string) { log.Print(s) }}
	flag.IntVar(&c.Rounds, "rounds", 5, "`N` rounds that count")
	flag.IntVar(&c.Warmup, "warmup", 1, "`N` rounds before them that do not")
	flag.StringVar(&c.Dir, "dir", "", "`DIR` for outputs and temporary files (default the system's temporary directory)")
	output := flag.String("output", "any-order", "outputs are the same when they have the same lines in `any-order`, or in-order; or ignored")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "compare: usage: compare [FLAGS] NAME='COMMAND {out}'...")
		flag.PrintDefaults()
	}
	flag.Parse()
	var known bool
	if c.Output, known = map[string]compare.Output{"any-order": compare.AnyOrder, "in-order": compare.InOrder, "ignored": compare.Ignored}[*output]; !known {
		log.Fatalf("compare: -output %q: any-order, in-order or ignored", *output)
	}
	var commands []compare.Command
	for _, arg := range flag.Args() {
		name, command, ok := strings.Cut(arg, "=")
		if !ok {
			log.Fatalf("compare: %q is not NAME=COMMAND", arg)
		}
		// exec, so that memory and process of the shell do not count.
		commands = append(commands, compare.Command{Name: name, Args: []string{"sh", "-c", "exec " + command}})
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	results, err := compare.Measure(ctx, c, commands)
	if err != nil {
		log.Fatal(err)
	}
	if err := compare.Markdown(os.Stdout, results, results[0].Name); err != nil {
		log.Fatalf("compare: %v", err)
	}
}
