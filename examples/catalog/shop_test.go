package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"math"
	"net"
	"path/filepath"
	"reflect"
	"strconv"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/layshaft/layshaft/coordinator/taskserver"
	"github.com/layshaft/layshaft/internal/outbox"
	"github.com/layshaft/layshaft/internal/pgtest"
	"github.com/layshaft/layshaft/internal/wire"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/tasks"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// shop is a database with products, and a search server.
type shop struct {
	*pgtest.DB
	url   string
	docs  func() map[string]string // of the search server
	in    Params
	tasks *tasks.Client // of the coordinator; follows sets it
}

func newShop(t testing.TB, products int64, url string, docs func() map[string]string) *shop {
	s := &shop{DB: pgtest.New(t), url: url, docs: docs}
	if err := load(t.Context(), s.DSN(), products, 7); err != nil {
		t.Fatal(err)
	}
	s.in = Params{Out: filepath.Join(t.TempDir(), "listings"), Rates: rates, Database: s.DSN(), Market: "DE"}
	return s
}

func (s *shop) nightly(t testing.TB) {
	t.Helper()
	target := mapreduce.Local{Reporting: mapreduce.Reporting{Quarantine: filepath.Join(t.TempDir(), "bad.jsonl")}}
	if err := nightly(t.Context(), io.Discard, target, s.in, 5, IndexParams{Listings: s.in.Out, Server: s.url}); err != nil {
		t.Fatal(err)
	}
}

//go:embed testdata/reference.sql
var reference string

// check compares the documents with the reference.
func (s *shop) check(t *testing.T) {
	t.Helper()
	medians := map[string]float64{}
	for _, row := range s.Exec(t, "SELECT category, median FROM category_medians") {
		medians[row[0]], _ = strconv.ParseFloat(row[1], 64)
	}
	docs, rows := s.docs(), s.Exec(t, reference)
	if len(docs) != len(rows) || len(rows) < 1500 {
		t.Errorf("%d documents, want %d", len(docs), len(rows))
	}
	for _, row := range rows {
		var got, want map[string]any
		if docs[row[0]] == "" {
			t.Errorf("product %s has no document", row[0])
			continue
		}
		if err := json.Unmarshal([]byte(docs[row[0]]), &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(row[1]), &want); err != nil {
			t.Fatal(err)
		}
		level := 1.0 // in a category that the nightly run does not know yet
		if m := medians[want["category"].(string)]; m > 0 {
			level = want["price"].(float64) / m
		}
		if math.Abs(got["price_level"].(float64)-level) > 0.001 {
			t.Errorf("document %v: price_level, want %v", got, level)
		}
		delete(got, "price_level")
		maps.DeleteFunc(want, func(_ string, v any) bool { return v == nil })
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("document %v, want %v", got, want)
		}
	}
}

// install adds the outbox and watches the products.
func (s *shop) install(t testing.TB) {
	t.Helper()
	if err := outbox.Apply(t.Context(), s.DSN(), outbox.Migration("public")); err != nil {
		t.Fatal(err)
	}
	s.Exec(t, "SELECT layshaft.watch('products', 'index')")
}

// follows starts a coordinator, a forwarder and a worker for changes.
func (s *shop) follows(t testing.TB) {
	desk, err := taskserver.Open(taskserver.Config{})
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(wire.ServerOptions(slog.New(slog.DiscardHandler), nil)...)
	desk.Register(server)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cluster := tasks.Cluster{Address: l.Addr().String()}
	conn, err := grpc.NewClient(cluster.Address, append(wire.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	c, err := tasks.Dial(cluster)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 4)
	for _, run := range []func() error{
		func() error { return server.Serve(l) },
		func() error { return desk.Run(ctx) },
		func() error { return outbox.Forward(ctx, outbox.Config{Database: s.DSN(), Submit: outbox.Over(conn)}) },
		func() error { return follow(ctx, cluster, s.DSN(), "DE", s.url) },
	} {
		go func() { ended <- run() }()
	}
	t.Cleanup(func() {
		cancel()
		for range 3 {
			<-ended
		}
		server.Stop()
		<-ended
		_, _, _ = c.Close(), conn.Close(), desk.Close()
	})
	s.tasks = c
}

// settle waits until all changes have reached their documents.
func (s *shop) settle(t testing.TB) {
	t.Helper()
	if n := s.await(t); n.Failed > 0 {
		t.Errorf("tasks failed: %+v", n)
	}
}

// await waits until no task waits or runs.
func (s *shop) await(t testing.TB) tasks.Counts {
	t.Helper()
	late, stop := context.WithTimeout(t.Context(), 5*time.Minute)
	defer stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		state, err := outbox.Look(late, s.DSN())
		if err != nil || state.Refused > 0 {
			t.Fatal(state, err)
		}
		if state.Waiting == 0 {
			break
		}
		<-tick.C // each look is a connection
	}
	for o, err := range s.tasks.Watch(late) {
		if err != nil {
			t.Fatal(err)
		}
		if o.Totals.Waiting+o.Totals.Running == 0 {
			return o.Totals
		}
	}
	t.Fatal("the coordinator has ended")
	return tasks.Counts{}
}
