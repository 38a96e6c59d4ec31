package mapreduce_test

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

// The values of a group are a stream: the group may be larger than memory.
func ExampleGroupBy() {
	baskets := mapreduce.Define("baskets", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[string] {
		orders := mapreduce.Read(p, memio.Of(Order{7, "saw", 2}, Order{8, "drill", 1}, Order{7, "nail", 40}))
		return mapreduce.GroupBy(orders,
			func(o Order) int { return o.ID },
			func(id int, lines iter.Seq[Order]) string {
				basket := fmt.Sprint("order ", id, ":")
				for o := range lines {
					basket += fmt.Sprintf(" %d %s", o.Units, o.Product)
				}
				return basket
			}, mapreduce.Parallel(1))
	})
	for row, err := range baskets.Run(context.Background(), mapreduce.Local{}, mapreduce.None{}) {
		fmt.Println(row, err)
	}
	// Output:
	// order 7: 2 saw 40 nail <nil>
	// order 8: 1 drill <nil>
}

func ExampleTryGroupBy() {
	twice := mapreduce.Define("twice", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[string] {
		products := mapreduce.Read(p, memio.Of(Product{"saw", "Bolt", 900}, Product{"drill", "Acme", 4900}, Product{"saw", "Core", 950}))
		return mapreduce.TryGroupBy(products,
			func(x Product) string { return x.Name },
			func(_ context.Context, name string, same iter.Seq[Product], emit func(string)) error {
				first := true
				for x := range same {
					if !first {
						emit(x.Brand + " offers " + name + " too")
					}
					first = false
				}
				return nil
			})
	})
	fmt.Println(twice.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [Core offers saw too] <nil>
}

// The values of each group come in the order of a key: here the cheapest first.
func ExampleSortValues() {
	cheapest := mapreduce.Define("cheapest", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[string] {
		products := mapreduce.Read(p, memio.Of(Product{"saw", "Bolt", 990}, Product{"drill", "Acme", 4900}, Product{"saw", "Core", 950}))
		return mapreduce.GroupBy(products,
			func(x Product) string { return x.Name },
			func(name string, offers iter.Seq[Product]) string {
				for x := range offers {
					return name + " from " + x.Brand
				}
				return ""
			},
			mapreduce.SortValues(func(x Product) int64 { return x.Cents }),
			mapreduce.Parallel(1))
	})
	fmt.Println(cheapest.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [drill from Acme saw from Core] <nil>
}

func ExampleJoin() {
	revenue := mapreduce.Define("revenue", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[string] {
		products := mapreduce.Read(p, memio.Of(Product{"saw", "Bolt", 900}, Product{"drill", "Acme", 4900}))
		orders := mapreduce.Read(p, memio.Of(Order{1, "saw", 2}, Order{2, "glue", 1}, Order{3, "drill", 1}, Order{4, "saw", 5}))
		return mapreduce.Join(products, orders,
			func(x Product) string { return x.Name },
			func(o Order) string { return o.Product },
			func(x Product, o Order) string { return fmt.Sprintf("order %d: %d cents", o.ID, x.Cents*o.Units) },
			mapreduce.Parallel(1))
	})
	for row, err := range revenue.Run(context.Background(), mapreduce.Local{}, mapreduce.None{}) {
		fmt.Println(row, err)
	}
	// Output:
	// order 3: 4900 cents <nil>
	// order 1: 1800 cents <nil>
	// order 4: 4500 cents <nil>
}

func ExampleLeftJoin() {
	unsold := mapreduce.Define("unsold", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[string] {
		products := mapreduce.Read(p, memio.Of(Product{"saw", "Bolt", 900}, Product{"drill", "Acme", 4900}))
		orders := mapreduce.Read(p, memio.Of(Order{1, "saw", 2}))
		return mapreduce.LeftJoin(products, orders,
			func(x Product) string { return x.Name },
			func(o Order) string { return o.Product },
			func(x Product, o *Order) string {
				if o == nil {
					return x.Name + ": never ordered"
				}
				return fmt.Sprintf("%s: %d ordered", x.Name, o.Units)
			},
			mapreduce.Parallel(1))
	})
	fmt.Println(unsold.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [drill: never ordered saw: 2 ordered] <nil>
}

// CoGroup receives both sides of every key, also if one side is empty.
func ExampleCoGroup() {
	stock := mapreduce.Define("stock", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[mapreduce.KV[string, int64]] {
		in := mapreduce.Read(p, memio.Of(Order{1, "saw", 10}, Order{2, "drill", 3}))
		out := mapreduce.Read(p, memio.Of(Order{3, "saw", 4}, Order{4, "saw", 1}, Order{5, "glue", 2}))
		product := func(o Order) string { return o.Product }
		return mapreduce.CoGroup(in, out, product, product,
			func(_ context.Context, name string, ins, outs iter.Seq[Order], emit func(mapreduce.KV[string, int64])) error {
				var left int64
				for o := range ins {
					left += o.Units
				}
				for o := range outs {
					left -= o.Units
				}
				emit(mapreduce.KV[string, int64]{Key: name, Value: left})
				return nil
			}, mapreduce.Parallel(1))
	})
	fmt.Println(stock.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [{drill 3} {glue -2} {saw 5}] <nil>
}

// The small side is held in memory, so the large side is not moved and keeps its order.
func ExampleBroadcastJoin() {
	type Rate struct {
		Country string
		Percent int64
	}
	taxed := mapreduce.Define("taxed", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[string] {
		countries := mapreduce.Read(p, memio.Of("DE", "XX", "FR"))
		rates := mapreduce.Read(p, memio.Of(Rate{"FR", 20}, Rate{"DE", 19}))
		return mapreduce.BroadcastJoin(countries, rates,
			func(c string) string { return c },
			func(r Rate) string { return r.Country },
			func(c string, r *Rate) string {
				if r == nil {
					return c + " unknown"
				}
				return fmt.Sprintf("%s %d %%", c, r.Percent)
			})
	})
	rows, err := taxed.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{})
	fmt.Printf("%q %v\n", rows, err)
	// Output: ["DE 19 %" "XX unknown" "FR 20 %"] <nil>
}

// The order holds over all partitions, so the rows come sorted.
func ExampleSortBy() {
	sorted := mapreduce.Define("sorted", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[Product] {
		products := mapreduce.Read(p, memio.Of(Product{"saw", "Bolt", 900}, Product{"drill", "Acme", 4900}, Product{"hammer", "Acme", 1300}))
		return mapreduce.SortBy(products, func(x Product) int64 { return x.Cents })
	})
	rows, err := sorted.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{})
	fmt.Println(slices.IsSortedFunc(rows, func(a, b Product) int { return int(a.Cents - b.Cents) }), rows[0].Name, err)
	// Output: true saw <nil>
}

func ExampleSort() {
	sorted := mapreduce.Define("sorted", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[string] {
		return mapreduce.Sort(mapreduce.Read(p, memio.Of("saw", "drill", "hammer")))
	})
	fmt.Println(sorted.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [drill hammer saw] <nil>
}

func ExampleDescending() {
	sorted := mapreduce.Define("sorted", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[float64] {
		return mapreduce.Sort(mapreduce.Read(p, memio.Of(1.5, -2, 40)), mapreduce.Descending())
	})
	fmt.Println(sorted.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [40 1.5 -2] <nil>
}
