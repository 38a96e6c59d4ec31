// Command wordcount counts the words of text files. White space separates words; case matters.
//
//	go run ./examples/wordcount 'FILES-OR-GLOBS'...      prints the 20 most frequent words
//	go run ./examples/wordcount -out DIR 'FILES'...      writes all counts to DIR as word<TAB>count
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/textio"
)

// Params are the parameters of one run.
type Params struct {
	Files []string // paths, directories or globs
	Out   string   // directory for all counts; empty for none
}

type count = mapreduce.KV[string, int64]

var wordCount = mapreduce.Define("wordcount", func(p *mapreduce.Plan, in Params) mapreduce.Dataset[count] {
	lines := mapreduce.Read(p, textio.Lines(in.Files...))
	words := mapreduce.FlatMap(lines, strings.FieldsSeq)
	counts := mapreduce.CountBy(words, func(w string) string { return w })
	if in.Out != "" {
		counts.WriteTo(textio.WriteAs(in.Out, func(dst []byte, c count) []byte {
			return strconv.AppendInt(append(append(dst, c.Key...), '\t'), c.Value, 10)
		}))
	}
	return mapreduce.Top(counts, 20, func(c count) float64 { return float64(c.Value) })
})

func main() {
	mapreduce.Main()
	log.SetFlags(0)
	target := mapreduce.Flags(flag.CommandLine)
	out := flag.String("out", "", "write all counts to `DIR`")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: wordcount [FLAGS] 'FILES-OR-GLOBS'...")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		log.Fatal("wordcount: name the files to read, such as 'logs/**/*.txt'")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second ^C ends the process at once
	for c, err := range wordCount.Run(ctx, target, Params{flag.Args(), *out}) {
		if err != nil {
			log.Fatal("wordcount: ", err)
		}
		fmt.Printf("%s\t%d\n", c.Key, c.Value)
	}
}
