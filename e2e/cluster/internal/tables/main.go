// Command tables copies the tables a and b of database shop into the table copied.
package main

import (
	"context"
	"flag"
	"log"
	"time"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/pgio"
)

type row struct{ ID, Version int64 }

type copied struct {
	Tab         string
	ID, Version int64
}

// params are the parameters of the job.
type params struct {
	// Pause is how long every 1,000 rows take at least.
	Pause time.Duration
}

var job = mapreduce.Define("tables", func(p *mapreduce.Plan, in params) mapreduce.Dataset[mapreduce.None] {
	read := func(tab string) mapreduce.Dataset[copied] {
		return mapreduce.Map(mapreduce.Read(p, pgio.Rows[row]("shop", tab).Connections(8)), func(r row) copied {
			if r.ID%1000 == 0 {
				time.Sleep(in.Pause)
			}
			return copied{tab, r.ID, r.Version}
		})
	}
	mapreduce.Union(read("a"), read("b")).WriteTo(pgio.Write[copied]("shop", "copied").Upsert("tab", "id").Connections(8))
	return mapreduce.Nothing(p)
})

func main() {
	mapreduce.Main()
	log.SetFlags(0)
	target := mapreduce.Flags(flag.CommandLine)
	var in params
	flag.DurationVar(&in.Pause, "pause", 0, "`TIME` for every 1,000 rows")
	flag.Parse()
	if _, err := job.Collect(context.Background(), target, in); err != nil {
		log.Fatal("tables: ", err)
	}
}
