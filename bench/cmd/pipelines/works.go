package main

import (
	"strconv"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/agg"
	"github.com/layshaft/layshaft/mapreduce/csvio"
	"github.com/layshaft/layshaft/mapreduce/parquetio"
	"github.com/layshaft/layshaft/mapreduce/textio"
)

// Event is one of a user's events.
type Event struct {
	ID     int64 `csv:"id"`
	User   int64 `csv:"user"`
	Amount int64 `csv:"amount"`
}

// User is a user and a country.
type User struct {
	User    int64  `csv:"user"`
	Country string `csv:"country"`
}

type pair = mapreduce.KV[int64, int64]

func amountOf(p pair) int64 { return p.Value }

// chainSteps is the number of shuffles before the last one. chainPrime is above all ids, so that
// each step gives all keys other, different keys.
const (
	chainSteps = 8
	chainPrime = 15_485_863
)

var chain = mapreduce.Define("chain", func(p *mapreduce.Plan, in Params) mapreduce.Dataset[mapreduce.None] {
	d := mapreduce.Map(mapreduce.Read(p, csvio.Rows[Event](in.Files...)), func(e Event) pair { return pair{Key: e.ID, Value: e.Amount} })
	for i := range int64(chainSteps) {
		d = mapreduce.AggregateBy(d, func(p pair) int64 { return (p.Key*48271 + i) % chainPrime }, agg.Sum(amountOf))
	}
	writePairs(mapreduce.AggregateBy(d, func(p pair) int64 { return p.Key % 1000 }, agg.Sum(amountOf)), in)
	return mapreduce.Nothing(p)
})

func writePairs(d mapreduce.Dataset[pair], in Params) {
	d.WriteTo(textio.WriteAs(in.Out, func(dst []byte, p pair) []byte {
		return columns(strconv.AppendInt(dst, p.Key, 10), p.Value)
	}))
}

type purchase struct {
	Country string
	Amount  int64
}

var skewJoin = mapreduce.Define("skewjoin", func(p *mapreduce.Plan, in Params) mapreduce.Dataset[mapreduce.None] {
	users := mapreduce.Read(p, csvio.Rows[User](in.Overrides))
	events := mapreduce.Read(p, csvio.Rows[Event](in.Files...))
	joined := mapreduce.Join(users, events, func(u User) int64 { return u.User }, func(e Event) int64 { return e.User },
		func(u User, e Event) purchase { return purchase{u.Country, e.Amount} })
	mapreduce.AggregateBy(joined, func(x purchase) string { return x.Country }, agg.Compose2(
		agg.Count[purchase](), agg.Sum(func(x purchase) int64 { return x.Amount }),
		func(n, sum int64) [2]int64 { return [2]int64{n, sum} })).
		WriteTo(textio.WriteAs(in.Out, func(dst []byte, c mapreduce.KV[string, [2]int64]) []byte {
			return columns(append(dst, c.Key...), c.Value[:]...)
		}))
	return mapreduce.Nothing(p)
})

var countDistinct = mapreduce.Define("countdistinct", func(p *mapreduce.Plan, in Params) mapreduce.Dataset[mapreduce.None] {
	mapreduce.Aggregate(mapreduce.Read(p, csvio.Rows[Event](in.Files...)), agg.CountDistinct(func(e Event) int64 { return e.ID })).
		WriteTo(textio.WriteAs(in.Out, func(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) }))
	return mapreduce.Nothing(p)
})

// repeats counts equal lines, and then how many lines occur how often.
var repeats = mapreduce.Define("repeats", func(p *mapreduce.Plan, in Params) mapreduce.Dataset[mapreduce.None] {
	counts := mapreduce.CountBy(mapreduce.Read(p, textio.Lines(in.Files...)), func(line string) string { return line })
	writePairs(mapreduce.CountBy(counts, func(c count) int64 { return c.Value }), in)
	return mapreduce.Nothing(p)
})

var w2csv = mapreduce.Define("w2-csv", func(p *mapreduce.Plan, in Params) mapreduce.Dataset[mapreduce.None] {
	writeReport(mapreduce.Read(p, csvio.Rows[Product](in.Files...)), in)
	return mapreduce.Nothing(p)
})

var w2parquet = mapreduce.Define("w2-parquet", func(p *mapreduce.Plan, in Params) mapreduce.Dataset[mapreduce.None] {
	writeReport(mapreduce.Read(p, parquetio.Rows[Product](in.Files...)), in)
	return mapreduce.Nothing(p)
})
