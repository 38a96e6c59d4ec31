// Program vetted has a function that reads a flag.
package main

import (
	"flag"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

var least = flag.Int("least", 1, "least number")

var numbers = mapreduce.Define("numbers", func(p *mapreduce.Plan, _ struct{}) mapreduce.Dataset[int] {
	return mapreduce.Read(p, memio.Of(1, 2, 3)).Filter(func(n int) bool { return n > *least })
})

func main() { _ = numbers }
