package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zeebo/xxh3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/filesys/conform"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// far hides that a Caller is on this machine: the files in its answers cannot be opened directly.
type far struct{ Caller }

func (f far) Call(ctx context.Context, req *layshaftv1.CallRequest) (*layshaftv1.CallResponse, error) {
	resp, err := f.Caller.Call(ctx, req)
	for _, i := range resp.GetInfos() {
		i.Identity = "another-boot/1/2"
	}
	return resp, err
}

// server is a worker's gRPC server.
type server struct {
	layshaftv1.UnimplementedFilesServiceServer
	layshaftv1.UnimplementedWorkerServiceServer
	router *Router
	relay  bool // for children
}

func (s *server) Call(ctx context.Context, req *layshaftv1.CallRequest) (*layshaftv1.CallResponse, error) {
	if s.relay {
		return s.router.Call(ctx, req)
	}
	return s.router.Serve(ctx, req)
}

func (s *server) Lend(stream grpc.BidiStreamingServer[layshaftv1.LendRequest, layshaftv1.LendResponse]) error {
	return s.router.Lenders.Serve(stream)
}

// serve starts a server and returns a connection to it and a function that stops it.
func serve(t testing.TB, r *Router, relay bool) (*grpc.ClientConn, func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g, s := grpc.NewServer(grpc.InitialWindowSize(4<<20), grpc.InitialConnWindowSize(8<<20)), &server{router: r, relay: relay}
	layshaftv1.RegisterFilesServiceServer(g, s)
	layshaftv1.RegisterWorkerServiceServer(g, s)
	var serving sync.WaitGroup
	serving.Go(func() { g.Serve(l) })
	c, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithInitialWindowSize(4<<20), grpc.WithInitialConnWindowSize(8<<20))
	if err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		c.Close()
		g.Stop()
		serving.Wait()
	})
	t.Cleanup(stop)
	return c, stop
}

// cluster has some workers, each with a dataset d, connected by gRPC.
type cluster struct {
	routers map[string]*Router
	dirs    map[string]string
	conns   map[string]*grpc.ClientConn
	stop    map[string]func()

	mu   sync.Mutex
	dead map[string]bool // known as dead, and withdrawn
	away map[string]bool
}

func newCluster(t testing.TB, workers ...string) *cluster {
	t.Helper()
	c := &cluster{map[string]*Router{}, map[string]string{}, map[string]*grpc.ClientConn{}, map[string]func(){}, sync.Mutex{}, map[string]bool{}, map[string]bool{}}
	for _, name := range workers {
		dir := t.TempDir()
		v, err := OpenVolume(dir, name, Unlimited)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { v.Close() })
		r := c.router()
		r.Self, r.Datasets, r.Lenders = name, map[string]*Volume{"d": v}, &Lenders{}
		c.routers[name], c.dirs[name] = r, dir
		c.conns[name], c.stop[name] = serve(t, r, false)
	}
	return c
}

// router returns a Router outside any worker.
func (c *cluster) router() *Router {
	return &Router{
		Holders: func(_ context.Context, dataset string) (out, away []string, _ error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			for name := range c.routers {
				if dataset == "d" && c.away[name] {
					away = append(away, name)
				} else if dataset == "d" && !c.dead[name] {
					out = append(out, name)
				}
			}
			return out, away, nil
		},
		Peer: func(_ context.Context, worker string, _ bool) (Caller, error) {
			c.mu.Lock()
			away := c.away[worker]
			c.mu.Unlock()
			if c.conns[worker] == nil || away {
				return nil, errors.New("unknown")
			}
			return Conn(c.conns[worker]), nil
		},
	}
}

func TestConform(t *testing.T) {
	t.Run("far dataset of one", func(t *testing.T) { conform.Test(t, Dataset(far{newCluster(t, "w1").router()}), "dataset://d") })
	t.Run("far dataset of three", func(t *testing.T) {
		conform.Test(t, Dataset(far{newCluster(t, "w1", "w2", "w3").router()}), "dataset://d/x")
	})
	t.Run("dataset of this machine", func(t *testing.T) { conform.Test(t, Dataset(newCluster(t, "w1").router()), "dataset://d") })
	t.Run("own dataset", func(t *testing.T) { conform.Test(t, Dataset(newCluster(t, "w1", "w2").routers["w1"]), "dataset://d") })
	t.Run("child far", func(t *testing.T) {
		c, _ := serve(t, newCluster(t, "w1", "w2").routers["w2"], true)
		conform.Test(t, Dataset(far{Conn(c)}), "dataset://d")
	})
	for _, where := range []string{"far", "here"} {
		t.Run("client "+where, func(t *testing.T) {
			w := newCluster(t, "w1")
			l := lend(t, w)
			dir := t.TempDir()
			if err := l.Files()[""].(filesys.Lender).LendDir(dir, ""); err != nil {
				t.Fatal(err)
			}
			c, _ := serve(t, w.routers["w1"], true)
			caller := Conn(c)
			if where == "far" {
				caller = far{caller}
			}
			conform.Test(t, Client(caller), "client://me"+dir)
			if err := os.RemoveAll(filepath.Join(dir, "content")); err != nil {
				t.Fatal(err)
			}
			for _, f := range []string{"glob", "names"} {
				os.RemoveAll(filepath.Join(dir, f))
			}
			conform.Test(t, ClientFS(caller, "me"), dir)
		})
	}
}

// lend makes a client lend to all workers, until the test ends.
func lend(t testing.TB, c *cluster) *Lender {
	t.Helper()
	l, err := NewLender("me")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		l.Run(ctx, func(context.Context) ([]string, error) {
			var names []string
			for name := range c.routers {
				names = append(names, name)
			}
			return names, nil
		}, func(ctx context.Context, worker string) (grpc.BidiStreamingClient[layshaftv1.LendRequest, layshaftv1.LendResponse], error) {
			return layshaftv1.NewWorkerServiceClient(c.conns[worker]).Lend(ctx)
		})
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
		l.Close()
	})
	return l
}

func put(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

func get(f filesys.FS, path string) (string, error) {
	file, err := f.Open(context.Background(), path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	data, err := io.ReadAll(file.Stream(0, 1<<40))
	return string(data), err
}

// Copies with the size of the newest one count. Any of them is read, and another one when its
// worker dies.
func TestReplicas(t *testing.T) {
	ctx, c := context.Background(), newCluster(t, "w1", "w2", "w3")
	put(t, c.dirs["w1"]+"/f", "old")
	put(t, c.dirs["w2"]+"/f", "newer")
	put(t, c.dirs["w3"]+"/f", "newer")
	put(t, c.dirs["w3"]+"/only", "w3")
	if err := os.Chtimes(c.dirs["w1"]+"/f", time.Time{}, time.Unix(1000, 0)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(c.dirs["w2"]+"/f", time.Time{}, time.Unix(2000, 0)); err != nil {
		t.Fatal(err)
	}
	f := Dataset(far{c.router()})
	f.Patience = 2 * time.Second
	infos, err := f.Glob(ctx, "dataset://d/*")
	if err != nil || len(infos) != 2 || !slices.Equal(infos[0].Hosts, []string{"w2", "w3"}) || infos[0].Size != 5 || !slices.Equal(infos[1].Hosts, []string{"w3"}) {
		t.Fatalf("%+v, %v", infos, err)
	}
	if hosts, err := f.Spread(ctx, "dataset://d/x"); err != nil || !slices.Equal(hosts, []string{"w1", "w2", "w3"}) {
		t.Errorf("%v, %v", hosts, err)
	}
	open, err := f.Open(ctx, "dataset://d/f")
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	c.stop["w2"]()
	buf := make([]byte, 5)
	if n, err := open.ReadAt(buf, 0); n != 5 || err != nil || string(buf) != "newer" {
		t.Errorf("%q, %v", buf[:n], err)
	}
	if got, err := get(f, "dataset://w1@d/f"); err != nil || got != "old" {
		t.Errorf("%q, %v", got, err)
	}
	// The list is not cut short when a worker does not answer.
	f.Patience = 50 * time.Millisecond
	if _, err := f.Glob(ctx, "dataset://d/*"); !errors.Is(err, filesys.ErrGone) || !strings.Contains(err.Error(), "w2") {
		t.Errorf("a worker that is gone: %v", err)
	}
	c.mu.Lock()
	c.dead["w2"] = true
	c.mu.Unlock()
	if infos, err = f.Glob(ctx, "dataset://d/*"); err != nil || !slices.Equal(infos[0].Hosts, []string{"w3"}) {
		t.Errorf("%+v, %v", infos, err)
	}
	for path, want := range map[string]string{"dataset://w2@d/f": "worker w2", "dataset://w9@d/f": "worker w9", "dataset://none/f": "-dataset none=DIR"} {
		if _, err := f.Stat(ctx, path); !errors.Is(err, filesys.ErrGone) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// With hints only the named workers are called.
func TestHints(t *testing.T) {
	ctx, c := context.Background(), newCluster(t, "w1", "w2", "w3", "w4")
	put(t, c.dirs["w3"]+"/f", "text")
	r := c.router()
	var mu sync.Mutex
	peer, asked := r.Peer, []string{}
	r.Peer = func(ctx context.Context, worker string, anew bool) (Caller, error) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, worker)
		return peer(ctx, worker, anew)
	}
	f := Dataset(far{r})
	for _, c := range []struct {
		hosts []string
		want  string
	}{
		{[]string{"w3"}, "w3 w3 w3"}, {[]string{"gone", "w3"}, "gone w3 gone w3 gone w3"},
	} {
		asked = nil
		file, err := filesys.Open(filesys.WithSet(ctx, filesys.Set{"dataset": f}), "dataset://d/f", c.hosts, nil)
		if err != nil {
			t.Fatal(err)
		}
		file.Stat() // from Open
		file.ReadAt(make([]byte, 4), 0)
		if info, err := file.Stat(); err != nil || info.Size != 4 {
			t.Errorf("%+v, %v", info, err)
		}
		file.Close()
		if got := strings.Join(asked, " "); got != c.want {
			t.Errorf("hosts %v: asked %s, want %s", c.hosts, got, c.want)
		}
	}
	// Another copy is opened if its content is known to be equal.
	f.Patience = time.Millisecond
	sum := xxh3.HashString128("text").Bytes()
	for want, same := range map[bool]func(string) bool{true: func(v string) bool { return v == digestVersion(sum[:]) }, false: nil} {
		got, err := f.OpenAt(ctx, "dataset://d/f", []string{"w1"}, same)
		if (err == nil) != want || err != nil && (!errors.Is(err, filesys.ErrGone) || !strings.Contains(err.Error(), "worker w1, which had it")) {
			t.Errorf("a wrong hint: %v", err)
		}
		if err == nil {
			got.Close()
		}
	}
}

// A worker at a new address is found, even if another process answers at its old address.
func TestHolderElsewhere(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	put(t, c.dirs["w1"]+"/f", "text")
	closed, stop := serve(t, c.router(), false)
	stop()
	for name, old := range map[string]*grpc.ClientConn{"nobody": closed, "another worker": c.conns["w2"]} {
		r := c.router()
		peer, anew := r.Peer, 0
		r.Peer = func(ctx context.Context, worker string, again bool) (Caller, error) {
			if again {
				anew++
			}
			if worker == "w1" && !again {
				return Conn(old), nil
			}
			return peer(ctx, worker, again)
		}
		f := Dataset(far{r})
		f.Patience = time.Nanosecond
		if infos, err := f.Glob(context.Background(), "dataset://d/*"); err != nil || len(infos) != 1 || anew != 1 {
			t.Errorf("%s: %+v, %v; looked up anew %d times", name, infos, err, anew)
		}
		file, err := f.OpenAt(context.Background(), "dataset://d/f", []string{"w1"}, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		buf := make([]byte, 4)
		if n, err := file.ReadAt(buf, 0); n != 4 || err != nil || anew != 3 {
			t.Errorf("%s: %q, %v; looked up anew %d times", name, buf[:n], err, anew)
		}
		file.Close()
	}
}

// While a worker is away, a list is not cut short and no file counts as missing. The operation
// waits a little for the worker.
func TestAway(t *testing.T) {
	ctx, c := context.Background(), newCluster(t, "w1", "w2")
	put(t, c.dirs["w1"]+"/f1", "one")
	put(t, c.dirs["w2"]+"/f2", "two")
	set := func(away bool) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.away["w2"] = away
	}
	set(true)
	f := Dataset(far{c.router()})
	f.Patience = 10 * time.Millisecond
	_, err := f.Glob(ctx, "dataset://d/f*")
	if !errors.Is(err, filesys.ErrAway) || !strings.Contains(err.Error(), "worker w2, which offers dataset d, is away") ||
		!strings.Contains(err.Error(), "layshaft worker drain w2") || strings.Contains(err.Error(), "check the path") {
		t.Errorf("a glob: %v", err)
	}
	if _, err := f.Glob(ctx, "dataset://d/f2"); !errors.Is(err, filesys.ErrAway) {
		t.Errorf("a file of the worker that is away: %v", err)
	}
	if infos, err := f.Glob(ctx, "dataset://d/f1"); err != nil || len(infos) != 1 {
		t.Errorf("a file of the other: %+v, %v", infos, err)
	}
	if _, err := f.Stat(ctx, "dataset://d/f2"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "worker w2, which offers dataset d, is away") {
		t.Errorf("stat: %v", err)
	}
	if _, err := f.OpenAt(ctx, "dataset://d/f2", []string{"w2"}, nil); !errors.Is(err, filesys.ErrGone) || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "w2") {
		t.Errorf("a file that it had: %v", err)
	}
	// It comes back during the wait.
	f.Patience = time.Minute
	r := c.router()
	holders, asked := r.Holders, 0
	r.Holders = func(ctx context.Context, dataset string) ([]string, []string, error) {
		if asked++; asked == 3 {
			set(false)
		}
		return holders(ctx, dataset)
	}
	f = Dataset(far{r})
	if infos, err := f.Glob(ctx, "dataset://d/f*"); err != nil || len(infos) != 2 {
		t.Errorf("it came back: %+v, %v", infos, err)
	}
}

// A file written by a worker stays on it if it offers the dataset.
func TestWritesNear(t *testing.T) {
	ctx, c := context.Background(), newCluster(t, "w1", "w2")
	for _, name := range []string{"w1", "w2"} {
		for _, caller := range []Caller{c.routers[name], far{c.routers[name]}} {
			f := Dataset(caller)
			path := fmt.Sprintf("dataset://d/out/%s-%T", name, caller)
			if err := f.MkdirAll(ctx, "dataset://d/out"); err != nil {
				t.Fatal(err)
			}
			w, err := f.Create(ctx, path)
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(w, "x")
			if err := w.Close(); err != nil || w.Path() != filesys.OnHost(path, name) {
				t.Errorf("%s, %v", w.Path(), err)
			}
			if _, err := os.Stat(filepath.Join(c.dirs[name], "out", filesys.Base(path))); err != nil {
				t.Error(err)
			}
		}
	}
}

// A file of this machine is opened directly, and no other.
func TestSameMachine(t *testing.T) {
	c := newCluster(t, "w1")
	put(t, c.dirs["w1"]+"/f", "text")
	f, err := Dataset(c.router()).Open(context.Background(), "dataset://d/f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if !filesys.IsLocal(f) {
		t.Error("it is read through the worker")
	}
	if i, err := f.Stat(); err != nil || len(i.Hosts) != 1 || i.Path != "dataset://d/f" {
		t.Errorf("%+v, %v", i, err)
	}
	fi, err := os.Stat(c.dirs["w1"] + "/f")
	if err != nil {
		t.Fatal(err)
	}
	put(t, c.dirs["w1"]+"/g", "other")
	for path, id := range map[string]string{c.dirs["w1"] + "/g": identity(fi), c.dirs["w1"] + "/none": identity(fi), c.dirs["w1"] + "/f": "x/1/2", "": identity(fi)} {
		if f := openHere(&layshaftv1.FileInfo{Path: path, Identity: id}); f != nil {
			t.Errorf("%s passes as %s", path, id)
			f.Close()
		}
	}
}

// flaky fails some calls before and some after they were carried out.
type flaky struct {
	Caller
	mu sync.Mutex
	n  int
}

func (f *flaky) Call(ctx context.Context, req *layshaftv1.CallRequest) (*layshaftv1.CallResponse, error) {
	f.mu.Lock()
	f.n++
	n := f.n
	f.mu.Unlock()
	switch n % 3 {
	case 0:
		return nil, status.Error(codes.Unavailable, "before")
	case 1:
		f.Caller.Call(ctx, req)
		return nil, status.Error(codes.Unavailable, "after")
	}
	return f.Caller.Call(ctx, req)
}

// Every operation may be carried out twice, over a connection that fails now and then.
func TestFlaky(t *testing.T) {
	conform.Test(t, Dataset(&flaky{Caller: far{newCluster(t, "w1").router()}}), "dataset://d")
}

// A refusal by the coordinator does not pass: nobody may retry it as if a machine were away.
func TestRefusedLookup(t *testing.T) {
	for _, refusal := range []error{wire.ErrForbidden, wire.ErrUnauthenticated} {
		r := newCluster(t, "w1").router()
		r.Holders = func(context.Context, string) ([]string, []string, error) { return nil, nil, refusal }
		asked := 0
		r.Find = func(context.Context, string, string) ([]*layshaftv1.FileInfo, error) {
			asked++
			return nil, unreachable(refusal)
		}
		f := Dataset(r)
		if _, err := f.Stat(t.Context(), "dataset://d/x"); !errors.Is(err, fs.ErrPermission) || errors.Is(err, filesys.ErrGone) {
			t.Errorf("Stat: %v, want a refusal", err)
		}
		if _, err := f.Glob(t.Context(), "dataset://d/*"); !errors.Is(err, fs.ErrPermission) || asked != 1 {
			t.Errorf("Glob: %v after %d calls, want one refusal", err, asked)
		}
	}
}

func TestClientGone(t *testing.T) {
	c := newCluster(t, "w1")
	f := ClientFS(c.routers["w1"], "nobody")
	f.Patience = time.Nanosecond
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := f.Stat(ctx, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	// When a client leaves, its waiting calls end.
	l := lend(t, c)
	path := filepath.Join(t.TempDir(), "f")
	put(t, path, "x")
	if _, err := l.Files()[""].(filesys.Lender).Lend(path); err != nil {
		t.Fatal(err)
	}
	if got, err := get(ClientFS(c.routers["w1"], "me"), path); got != "x" || err != nil {
		t.Fatal(got, err)
	}
}

// Long lists come in several answers, each small enough for a message.
func TestLongLists(t *testing.T) {
	defer func(n int) { pageBytes = n }(pageBytes)
	pageBytes = 4000
	c := newCluster(t, "w1", "w2")
	long := strings.Repeat("x", 200)
	const n = 100
	for i := range n {
		put(t, fmt.Sprintf("%s/%s/%s%05d", c.dirs[[]string{"w1", "w2"}[i%2]], long, long, i), "")
	}
	child, _ := serve(t, c.routers["w2"], true)
	for _, caller := range []Caller{c.router(), Conn(child)} {
		for _, list := range []func(context.Context, string) ([]filesys.Info, error){Dataset(caller).Glob, Dataset(caller).ReadDir} {
			infos, err := list(context.Background(), "dataset://d/"+long)
			if err != nil || len(infos) != n {
				t.Fatalf("%d of %d, %v", len(infos), n, err)
			}
			for i, info := range infos {
				if want := fmt.Sprintf("dataset://d/%s/%s%05d", long, long, i); info.Path != want {
					t.Fatalf("%s, want %s", info.Path, want)
				}
			}
		}
	}
}

// BenchmarkStream reads a file over a loopback connection, directly and through the worker of a
// child.
func BenchmarkStream(b *testing.B) {
	const size = 256 << 20
	c := newCluster(b, "w1", "w2")
	put(b, c.dirs["w1"]+"/big", strings.Repeat("0123456789abcdef", size/16))
	child, _ := serve(b, c.routers["w2"], true)
	for name, caller := range map[string]Caller{"straight": far{c.router()}, "child": far{Conn(child)}, "direct": c.router()} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size)
			buf := make([]byte, 256<<10)
			for b.Loop() {
				f, err := Dataset(caller).Open(context.Background(), "dataset://d/big")
				if err != nil {
					b.Fatal(err)
				}
				n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, f.Stream(0, size), buf)
				if n != size || err != nil {
					b.Fatal(n, err)
				}
				f.Close()
			}
		})
	}
}
