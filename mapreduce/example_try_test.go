package mapreduce_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

func ExampleTryKeyBy() {
	byPrice := mapreduce.Define("by-price", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[mapreduce.KV[int, string]] {
		texts := mapreduce.Read(p, memio.Of("450", "1200"))
		return mapreduce.TryKeyBy(texts, func(_ context.Context, s string) (int, error) { return strconv.Atoi(s) })
	})
	fmt.Println(byPrice.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [{450 450} {1200 1200}] <nil>
}

func ExampleTryJoin() {
	revenue := mapreduce.Define("revenue", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[string] {
		products := mapreduce.Read(p, memio.Of(Product{"saw", "Bolt", 900}, Product{"drill", "Acme", 4900}))
		orders := mapreduce.Read(p, memio.Of(Order{1, "saw", 2}, Order{2, "drill", -1}))
		return mapreduce.TryJoin(products, orders,
			func(x Product) string { return x.Name },
			func(o Order) string { return o.Product },
			func(_ context.Context, x Product, o Order) (string, error) {
				if o.Units < 0 {
					return "", mapreduce.Skip(fmt.Errorf("order %d has %d units", o.ID, o.Units))
				}
				return fmt.Sprintf("order %d: %d cents", o.ID, x.Cents*o.Units), nil
			})
	}, mapreduce.MaxBad(1))
	dir, _ := os.MkdirTemp("", "")
	defer os.RemoveAll(dir)
	target := mapreduce.Local{Reporting: mapreduce.Reporting{Quarantine: filepath.Join(dir, "bad")}}
	fmt.Println(revenue.Collect(context.Background(), target, mapreduce.None{}))
	// Output: [order 1: 1800 cents] <nil>
}

func ExampleTryLeftJoin() {
	unsold := mapreduce.Define("unsold", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[string] {
		products := mapreduce.Read(p, memio.Of(Product{"saw", "Bolt", 900}, Product{"drill", "Acme", 4900}))
		orders := mapreduce.Read(p, memio.Of(Order{1, "saw", 2}))
		return mapreduce.TryLeftJoin(products, orders,
			func(x Product) string { return x.Name },
			func(o Order) string { return o.Product },
			func(ctx context.Context, x Product, o *Order) (string, error) {
				if o == nil {
					return x.Name + ": never ordered", ctx.Err()
				}
				return fmt.Sprintf("%s: %d ordered", x.Name, o.Units), ctx.Err()
			},
			mapreduce.Parallel(1))
	})
	fmt.Println(unsold.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{}))
	// Output: [drill: never ordered saw: 2 ordered] <nil>
}

func ExampleTryBroadcastJoin() {
	type Rate struct {
		Country string
		Percent int64
	}
	taxed := mapreduce.Define("taxed", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[string] {
		countries := mapreduce.Read(p, memio.Of("DE", "FR"))
		rates := mapreduce.Read(p, memio.Of(Rate{"FR", 20}, Rate{"DE", 19}))
		return mapreduce.TryBroadcastJoin(countries, rates,
			func(c string) string { return c },
			func(r Rate) string { return r.Country },
			func(_ context.Context, c string, r *Rate) (string, error) {
				if r == nil {
					return "", mapreduce.Fatal(fmt.Errorf("no rate for %q", c))
				}
				return fmt.Sprintf("%s %d %%", c, r.Percent), nil
			})
	})
	rows, err := taxed.Collect(context.Background(), mapreduce.Local{}, mapreduce.None{})
	fmt.Printf("%q %v\n", rows, err)
	// Output: ["DE 19 %" "FR 20 %"] <nil>
}
