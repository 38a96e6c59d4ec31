package tasks_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"slices"
	"strings"
	"time"

	"github.com/layshaft/layshaft/tasks"
	"github.com/layshaft/layshaft/tasks/internal/tasktest"
)

// exampleCluster is a coordinator for an example. A program names its own: tasks.Cluster{Address: "coordinator:7070"}.
func exampleCluster() (tasks.Cluster, func()) {
	s, err := tasktest.Start("", "")
	if err != nil {
		log.Fatal(err)
	}
	return tasks.Cluster{Address: s.Address}, func() { _ = s.Stop() }
}

// run runs a worker until stop is called.
func run(w *tasks.Worker) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			log.Fatal(err)
		}
	}
}

func Example() {
	cluster, shutDown := exampleCluster()
	defer shutDown()
	ctx := context.Background()

	w := tasks.NewWorker(cluster)
	tasks.Handle(w, "multiply", func(_ context.Context, in [2]int) (int, error) { return in[0] * in[1], nil })
	defer run(w)()

	c, err := tasks.Dial(cluster)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	n, err := tasks.Do[int](ctx, c, "multiply", [2]int{6, 7})
	fmt.Println(n, err)
	// Output: 42 <nil>
}

func ExampleScatter() {
	cluster, shutDown := exampleCluster()
	defer shutDown()
	w := tasks.NewWorker(cluster)
	tasks.Handle(w, "shout", func(_ context.Context, word string) (string, error) { return strings.ToUpper(word), nil })
	defer run(w)()
	c, err := tasks.Dial(cluster)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	var loud []string
	for r := range tasks.Scatter[string](context.Background(), c, "shout", []string{"spread", "over", "many"}, tasks.Deadline(10*time.Second)) {
		if r.Err != nil {
			log.Print(r.Err) // the others may still be of use
			continue
		}
		loud = append(loud, r.Value) // as they come: r.Index says which
	}
	slices.Sort(loud)
	fmt.Println(loud)
	// Output: [MANY OVER SPREAD]
}

func ExampleEnqueue() {
	cluster, shutDown := exampleCluster()
	defer shutDown()
	ctx := context.Background()
	c, err := tasks.Dial(cluster)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	type document struct{ ID, Text string }
	doc := document{ID: "d17", Text: "a shaft inside a gearbox"}
	id, err := tasks.Enqueue(ctx, c, "reindex", doc, tasks.Low, tasks.Unique(doc.ID))
	if err != nil {
		log.Fatal(err)
	}
	again, err := tasks.Enqueue(ctx, c, "reindex", doc, tasks.Low, tasks.Unique(doc.ID))
	fmt.Println("the same task:", id == again, err)

	w := tasks.NewWorker(cluster)
	tasks.Handle(w, "reindex", func(_ context.Context, d document) (int, error) { return len(strings.Fields(d.Text)), nil })
	defer run(w)()

	words, err := tasks.Attach[int](ctx, c, id)
	fmt.Println(words, err)
	// Output:
	// the same task: true <nil>
	// 5 <nil>
}

func ExampleOnUpdate() {
	cluster, shutDown := exampleCluster()
	defer shutDown()
	w := tasks.NewWorker(cluster)
	tasks.Handle(w, "count", func(ctx context.Context, to int) (string, error) {
		for i := range to {
			if err := tasks.Send(ctx, i); err != nil {
				return "", err
			}
			_ = tasks.Progress(ctx, uint64(i+1), uint64(to))
		}
		return "EOD", tasks.Warn(ctx, "%d is enough", to)
	})
	defer run(w)()
	c, err := tasks.Dial(cluster)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	end, err := tasks.Do[string](context.Background(), c, "count", 2, tasks.OnUpdate(func(u tasks.Update) {
		switch u.Kind {
		case tasks.KindData, tasks.KindWarning:
			fmt.Printf("%s: %s\n", u.Kind, u.Payload)
		case tasks.KindProgress:
			fmt.Printf("%d/%d\n", u.N, u.M)
		}
	}))
	fmt.Println(end, err)
	// Output:
	// data: 0
	// 1/2
	// data: 1
	// 2/2
	// warning: 2 is enough
	// EOD <nil>
}

func ExampleThen() {
	cluster, shutDown := exampleCluster()
	defer shutDown()
	w := tasks.NewWorker(cluster)
	tasks.Handle(w, "fetch", func(_ context.Context, url string) (string, error) { return "<b>content of " + url + "</b>", nil })
	tasks.Handle(w, "strip", func(_ context.Context, html string) (string, error) {
		return strings.NewReplacer("<b>", "", "</b>", "").Replace(html), nil
	})
	defer run(w)()
	c, err := tasks.Dial(cluster)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	text, err := tasks.Do[string](context.Background(), c, "fetch", "example.org", tasks.Then("strip", tasks.High))
	fmt.Println(text, err)
	// Output: content of example.org <nil>
}

func ExampleGroup() {
	cluster, shutDown := exampleCluster()
	defer shutDown()
	ctx := context.Background()
	w := tasks.NewWorker(cluster)
	tasks.Handle(w, "square", func(_ context.Context, n int) (int, error) { return n * n, nil })
	tasks.Handle(w, "sum", func(_ context.Context, all tasks.Gathered[int]) (sum int, err error) {
		for _, r := range all {
			sum += r.Value
		}
		return sum, nil
	})
	defer run(w)()
	c, err := tasks.Dial(cluster)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	g, err := tasks.OpenGroup(ctx, c, tasks.Then("sum"))
	if err != nil {
		log.Fatal(err)
	}
	if _, err := tasks.AddToGroup(ctx, g, "square", []int{1, 2, 3, 4}); err != nil {
		log.Fatal(err)
	}
	if err := g.Close(ctx); err != nil {
		log.Fatal(err)
	}
	sum, err := tasks.Attach[int](ctx, c, g.ID())
	fmt.Println(sum, err)
	// Output: 30 <nil>
}

func ExampleHandleBatch() {
	cluster, shutDown := exampleCluster()
	defer shutDown()
	w := tasks.NewWorker(cluster)
	tasks.HandleBatch(w, "index", func(_ context.Context, words []string) ([]int, error) {
		lengths := make([]int, len(words)) // one request for all, to whatever is behind this
		failed := make(tasks.ItemErrors, len(words))
		for i, word := range words {
			if lengths[i] = len(word); word == "" {
				failed[i] = tasks.Fatal(errors.New("nothing to index"))
			}
		}
		return lengths, failed
	}, tasks.BatchSize(50), tasks.BatchWait(2*time.Millisecond))
	defer run(w)()
	c, err := tasks.Dial(cluster)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	sum, failed := 0, 0
	for r := range tasks.Scatter[int](context.Background(), c, "index", []string{"lay", "", "shaft"}) {
		sum += r.Value
		if r.Err != nil {
			failed++
		}
	}
	fmt.Println(sum, failed)
	// Output: 8 1
}

func ExampleFatal() {
	cluster, shutDown := exampleCluster()
	defer shutDown()
	w := tasks.NewWorker(cluster)
	tasks.Handle(w, "charge", func(_ context.Context, amount int) (string, error) {
		if amount < 0 {
			return "", tasks.Fatal(errors.New("the amount is negative")) // another attempt would not help
		}
		return "ok", nil
	})
	defer run(w)()
	c, err := tasks.Dial(cluster)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	_, err = tasks.Do[string](context.Background(), c, "charge", -5)
	var failed *tasks.Error
	fmt.Println(errors.Is(err, tasks.ErrFailed), errors.As(err, &failed) && failed.Message == "the amount is negative")
	// Output: true true
}

func ExampleClient_SetSchedule() {
	cluster, shutDown := exampleCluster()
	defer shutDown()
	ctx := context.Background()
	w := tasks.NewWorker(cluster)
	tasks.Handle(w, "digest", func(_ context.Context, list string) (string, error) { return "sent to " + list, nil })
	defer run(w)()
	c, err := tasks.Dial(cluster)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	s, err := c.SetSchedule(ctx, tasks.Schedule{
		Name: "digest", Cron: "30 7 * * mon-fri", Zone: "Europe/Berlin", Jitter: 5 * time.Minute,
		Function: "digest", Input: "staff", Options: []tasks.Option{tasks.Attempts(3)},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(s.Next.Format("15:04"), s.CatchUp, s.Overlap)
	if s, err = c.RunSchedule(ctx, "digest"); err != nil { // now, not in the morning
		log.Fatal(err)
	}
	id, err := tasks.ParseID(s.History[0].Task)
	if err != nil {
		log.Fatal(err)
	}
	out, err := tasks.Attach[string](ctx, c, id)
	fmt.Println(out, err)
	// Output:
	// 07:30 last skip
	// sent to staff <nil>
}
