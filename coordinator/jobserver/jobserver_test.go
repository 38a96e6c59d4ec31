package jobserver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/layshaft/layshaft/coordinator"
	"github.com/layshaft/layshaft/coordinator/datadir"
	"github.com/layshaft/layshaft/coordinator/internal/coordtest"
	"github.com/layshaft/layshaft/coordinator/internal/journal"
	"github.com/layshaft/layshaft/internal/client"
	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

func program(text string) report.Code {
	sum := sha256.Sum256([]byte(text))
	return report.Code{SHA256: hex.EncodeToString(sum[:]), Size: int64(len(text)), Platform: "linux/amd64"}
}

func TestShipping(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		n := &network{}
		n.serve(t, coordinator.Config{}, Config{MaxCode: 1 << 20})
		c := n.client(t)
		ctx := t.Context()
		text := strings.Repeat("x", 700_000)
		code := program(text)
		spec := coordtest.TwoStages(1, 1)
		opt := report.Options{Code: code.SHA256, CodeSize: code.Size, Platform: code.Platform}
		if out, err := c.Submit(ctx, &spec, opt); err != nil || !out.CodeWanted {
			t.Errorf("without workers: %+v, %v", out, err)
		}
		closed := &remoteWorker{n: n, hello: &layshaftv1.Hello{Protocol: wire.Protocol, Worker: "w0", Slots: 1, Platform: "linux/amd64"}, gone: make(chan struct{}), peers: map[string]string{}}
		closed.start(t)
		settle()
		if _, err := c.Submit(ctx, &spec, opt); !errors.Is(err, wire.ErrCannotRun) || !strings.Contains(err.Error(), "-allow-shipped-code") {
			t.Errorf("to a worker that takes no programs: %v", err)
		}
		closed.end()
		time.Sleep(time.Second)

		w := n.worker(t, "w1", 1)
		w.end()
		time.Sleep(time.Second)
		w.hello.AllowsShippedCode, w.hello.Loaders, w.gone = true, []string{"/lib/ld-musl.so"}, make(chan struct{})
		w.start(t)
		settle()
		for want, o := range map[string]report.Options{
			"GOARCH=arm64":                  {Code: code.SHA256, Platform: "linux/arm64"},
			"CGO_ENABLED=0":                 {Code: code.SHA256, Platform: "linux/amd64", CodeLoader: "/lib64/ld-linux-x86-64.so.2"},
			"its name must be a SHA-256 in": {Code: "../x", Platform: "linux/amd64"},
		} {
			if _, err := c.Submit(ctx, &spec, o); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: %v, want %q", o, err, want)
			}
		}
		if out, err := c.Submit(ctx, &spec, opt); err != nil || !out.CodeWanted {
			t.Errorf("first submit: %+v, %v", out, err)
		}
		if err := c.PutCode(ctx, code, strings.NewReader(text[1:])); !errors.Is(err, wire.ErrInvalid) {
			t.Errorf("a cut program: %v", err)
		}
		if err := c.PutCode(ctx, report.Code{SHA256: code.SHA256, Size: 2 << 20}, strings.NewReader(text)); !errors.Is(err, wire.ErrInvalid) {
			t.Errorf("a program that is too large: %v", err)
		}
		if err := c.PutCode(ctx, code, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if err := c.GetCode(ctx, code.SHA256, &got); err != nil || got.String() != text {
			t.Errorf("GetCode = %d bytes, %v", got.Len(), err)
		}
		if err := c.GetCode(ctx, strings.Repeat("0", 64), &got); !errors.Is(err, wire.ErrUnknownCode) {
			t.Errorf("GetCode of another = %v", err)
		}
		if out, err := c.Submit(ctx, &spec, opt); err != nil || out.CodeWanted {
			t.Errorf("second submit: %+v, %v", out, err)
		}
		if _, o, err := c.Spec(ctx, "j", true); err != nil || o.Code != code.SHA256 || o.CodeSize != code.Size || o.Platform != code.Platform {
			t.Errorf("Spec = %+v, %v", o, err)
		}
		if err := c.Wait(ctx, "j"); err != nil {
			t.Error(err)
		}
	})
}

// lister is a worker's files.
type lister struct {
	layshaftv1.UnimplementedFilesServiceServer
	files []*layshaftv1.FileInfo
	fail  string
}

func (l *lister) Call(_ context.Context, r *layshaftv1.CallRequest) (*layshaftv1.CallResponse, error) {
	if r.GetVolume() != "dataset/catalog" || r.GetList() == nil {
		return nil, fmt.Errorf("asked for %v", r)
	}
	files := l.files
	if r.GetName() == "a.csv" {
		files = slices.DeleteFunc(slices.Clone(files), func(f *layshaftv1.FileInfo) bool { return f.GetName() != "a.csv" })
	}
	return &layshaftv1.CallResponse{Infos: files, Error: l.fail}, nil
}

func TestFindFiles(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		file := func(name string, size int64) *layshaftv1.FileInfo {
			return &layshaftv1.FileInfo{Name: name, Size: size, ModTimeNanos: size}
		}
		workers := map[string]*lister{
			"w1": {files: []*layshaftv1.FileInfo{file("b.csv", 2), file("a.csv", 1)}},
			"w2": {files: []*layshaftv1.FileInfo{file("a.csv", 1), file("b.csv", 2)}},
			"w3": {files: []*layshaftv1.FileInfo{file("c.csv", 3)}},
		}
		listeners := map[string]*bufconn.Listener{}
		for name, files := range workers {
			l := bufconn.Listen(1 << 16)
			s := grpc.NewServer(wire.ServerOptions(slog.New(slog.DiscardHandler), nil)...)
			layshaftv1.RegisterFilesServiceServer(s, files)
			listeners[name+":1"] = l
			go func() { _ = s.Serve(l) }()
			t.Cleanup(s.Stop)
		}
		n := &network{}
		n.serve(t, coordinator.Config{}, Config{Dial: func(address string) (*grpc.ClientConn, error) {
			return grpc.NewClient("passthrough:///"+address, append(wire.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()),
				grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
					if l := listeners[address]; l != nil {
						return l.DialContext(ctx)
					}
					return nil, errors.New("connection refused")
				}))...)
		}})
		all := map[string]*remoteWorker{}
		for _, name := range []string{"w1", "w2", "w3", "w4"} {
			w := n.worker(t, name, 1)
			w.end()
			w.hello.Datasets, w.gone = []string{"catalog"}, make(chan struct{})
			if name == "w4" {
				w.hello.Datasets = []string{"other"}
			}
			w.start(t)
			all[name] = w
		}
		time.Sleep(time.Second)
		c := n.client(t)
		got, err := c.FindFiles(t.Context(), "catalog", "*.csv")
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, f := range got {
			lines = append(lines, fmt.Sprintf("%s %d %s", f.Name, f.Size, f.Holders))
		}
		if want := []string{"a.csv 1 [w1 w2]", "b.csv 2 [w1 w2]", "c.csv 3 [w3]"}; !slices.Equal(lines, want) {
			t.Errorf("got  %q\nwant %q", lines, want)
		}
		if _, err := c.FindFiles(t.Context(), "catalogue", "*"); !errors.Is(err, wire.ErrUnknownDataset) || !strings.Contains(err.Error(), "catalog, other") {
			t.Errorf("a dataset that nobody has: %v", err)
		}
		// What a worker had that is lost is missed, unless others have it too, until it is back or given up.
		for _, name := range []string{"w2", "w3"} {
			w := all[name]
			w.end()
			time.Sleep(time.Second)
			got, err := c.FindFiles(t.Context(), "catalog", "*.csv")
			if name == "w2" && (err != nil || len(got) != 3) {
				t.Errorf("without a replica: %v, %v", got, err)
			}
			if name == "w3" && (!errors.Is(err, filesys.ErrAway) || !strings.Contains(err.Error(), "worker w3, which offers dataset catalog, is away") || !strings.Contains(err.Error(), "had 1 of the files")) {
				t.Errorf("without the only holder of a file: %v, %v", got, err)
			}
			if _, err := c.FindFiles(t.Context(), "catalog", "[a-z].csv"); !errors.Is(err, filesys.ErrAway) || !strings.Contains(err.Error(), "worker "+name) {
				t.Errorf("files that %s was never asked for: %v", name, err)
			}
			if got, err := c.FindFiles(t.Context(), "catalog", "a.csv"); err != nil || len(got) != 1 {
				t.Errorf("a file that another has: %v, %v", got, err)
			}
			if name == "w3" {
				if err := c.DrainWorker(t.Context(), "w3"); err != nil {
					t.Error(err)
				}
				if got, err := c.FindFiles(t.Context(), "catalog", "*.csv"); err != nil || len(got) != 2 {
					t.Errorf("without a worker that was given up: %v, %v", got, err)
				}
			}
			w.gone = make(chan struct{})
			w.start(t)
			time.Sleep(time.Second)
		}
		workers["w3"].fail = "permission denied"
		if _, err := c.FindFiles(t.Context(), "catalog", "*.csv"); err == nil || !strings.Contains(err.Error(), "worker w3: permission denied") {
			t.Errorf("a worker that cannot list: %v", err)
		}
	})
}

func TestBackupAndRestore(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		data, err := datadir.Open(t.TempDir(), datadir.Options{NoSync: true, Reserve: -1})
		if err != nil {
			t.Fatal(err)
		}
		n := &network{}
		_, stop := n.serve(t, coordinator.Config{Journal: data.Journal}, Config{Data: data})
		w := n.worker(t, "w1", 2)
		settle()
		c := n.client(t)
		code := program("shipped")
		if err := c.PutCode(t.Context(), code, strings.NewReader("shipped")); err != nil {
			t.Fatal(err)
		}
		remoteSubmit(t, c, coordtest.TwoStages(4, 2))
		time.Sleep(2500 * time.Millisecond) // all maps are committed
		var backup bytes.Buffer
		if err := c.Backup(t.Context(), &backup); err != nil {
			t.Fatal(err)
		}
		before := strings.Fields(w.ran())
		stop()
		if err := data.Close(); err != nil {
			t.Fatal(err)
		}

		dir := filepath.Join(t.TempDir(), "restored")
		for cut := range backup.Len() / 512 {
			if err := datadir.Restore(dir, bytes.NewReader(backup.Bytes()[:cut*512-min(cut, 1)]), datadir.Options{NoSync: true, Reserve: -1}); err == nil && cut < backup.Len()/512-2 {
				t.Fatalf("a backup cut after %d of %d bytes was restored", cut*512, backup.Len())
			} else if err == nil {
				break
			}
		}
		flipped := bytes.Clone(backup.Bytes())
		flipped[bytes.Index(flipped, []byte("two stages"))]++
		if err := datadir.Restore(filepath.Join(dir, "x"), bytes.NewReader(flipped), datadir.Options{NoSync: true, Reserve: -1}); !errors.Is(err, datadir.ErrBackup) {
			t.Errorf("a flipped byte: %v", err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := datadir.Restore(dir, &backup, datadir.Options{NoSync: true, Reserve: -1}); err != nil {
			t.Fatal(err)
		}
		if err := datadir.Restore(dir, &backup, datadir.Options{}); err == nil || !strings.Contains(err.Error(), "not empty") {
			t.Errorf("restored over what is there: %v", err)
		}

		restored, err := datadir.Open(dir, datadir.Options{NoSync: true, Reserve: -1})
		if err != nil {
			t.Fatal(err)
		}
		if restored.Cluster != data.Cluster || !restored.Code.Has(code.SHA256) {
			t.Errorf("cluster %q became %q; programs were %v", data.Cluster, restored.Cluster, restored.Code.Has(code.SHA256))
		}
		_, stop = n.serve(t, coordinator.Config{Journal: restored.Journal}, Config{Data: restored})
		if err := c.Wait(t.Context(), "j"); err != nil {
			t.Error(err)
		}
		for _, a := range strings.Fields(w.ran())[len(before):] {
			if strings.HasPrefix(a, "0/") {
				t.Errorf("%s ran again after the restore", a)
			}
		}
		if w.welcome.GetEpoch() != datadir.RestoredEpochs+1 {
			t.Errorf("epoch %d is not above all that the former coordinator may have had", w.welcome.GetEpoch())
		}
		stop()
		if err := restored.Close(); err != nil {
			t.Error(err)
		}
		time.Sleep(10 * time.Second) // Badger ends
	})
}

func TestUnreachable(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		n := &network{} // refuses
		c := n.client(t)
		begin := time.Now()
		_, err := c.Jobs(t.Context(), 0)
		if took := time.Since(begin); !errors.Is(err, wire.ErrUnavailable) || !strings.Contains(err.Error(), "coordinator:7070 cannot be reached") ||
			!strings.Contains(err.Error(), "connection refused") || took > 12*time.Second {
			t.Errorf("after %v: %v", took, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Jobs(ctx, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a deadline: %v", err)
		}
		_, stop := n.serve(t, coordinator.Config{}, Config{})
		if _, err := c.Jobs(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		stop()
		time.AfterFunc(time.Minute, func() { n.serve(t, coordinator.Config{}, Config{}) })
		if _, err := c.Jobs(t.Context(), 0); err != nil {
			t.Errorf("a coordinator that was away for a minute: %v", err)
		}
	})
}

func TestErrorsCrossTheWire(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		n := &network{}
		j := &coordtest.Journal{}
		forbidden := ""
		var audit bytes.Buffer
		n.serve(t, coordinator.Config{Journal: j}, Config{
			Authorize: func(_ context.Context, method string) error {
				if strings.HasSuffix(method, forbidden) && forbidden != "" {
					return fmt.Errorf("read-only: %w", wire.ErrForbidden)
				}
				return nil
			},
			Identity: func(context.Context) string { return "ann" },
			Audit:    slog.New(slog.NewTextHandler(&audit, nil)),
		})
		c := n.client(t)
		ctx := t.Context()
		spec := coordtest.TwoStages(1, 1)
		j.SetFull(true)
		if _, err := c.Submit(ctx, &spec, report.Options{}); !errors.Is(err, journal.ErrDiskFull) {
			t.Errorf("full disk: %v", err)
		}
		j.SetFull(false)
		remoteSubmit(t, c, spec)
		forbidden = "/Cancel"
		if err := c.Cancel(ctx, "j", "no"); !errors.Is(err, wire.ErrForbidden) {
			t.Errorf("forbidden: %v", err)
		}
		forbidden = ""
		if err := c.Cancel(ctx, "x", "no"); !errors.Is(err, wire.ErrUnknownJob) {
			t.Errorf("unknown: %v", err)
		}
		if out, err := c.Submit(ctx, &spec, report.Options{}); err != nil || len(out.Warnings) != 1 {
			t.Errorf("submit without workers = %+v, %v", out, err)
		}
		if _, err := c.Submit(ctx, &job.Spec{ID: "bad"}, report.Options{}); !errors.Is(err, wire.ErrInvalid) {
			t.Errorf("a job without stages: %v", err)
		}
		for _, err := range c.Commits(ctx, "j", 7) {
			if !errors.Is(err, wire.ErrInvalid) {
				t.Errorf("commits of a stage that is not: %v", err)
			}
		}
		if err := c.Cancel(ctx, "j", "enough"); err != nil {
			t.Error(err)
		}
		var ended *report.JobError
		if err := c.Wait(ctx, "j"); !errors.As(err, &ended) || ended.Outcome != report.JobCancelled || ended.Failure.Message != "enough" {
			t.Errorf("Wait = %v", err)
		}
		if st, _ := c.Status(ctx, "j"); st.Options.Owner != "ann" {
			t.Errorf("owner is %q", st.Options.Owner)
		}
		for _, want := range []string{"action=submit who=ann job=j", "action=cancel who=ann job=j why=enough"} {
			if !strings.Contains(audit.String(), want) {
				t.Errorf("audit has no %q:\n%s", want, audit.String())
			}
		}
	})
}

func TestServerRefusesItsConfig(t *testing.T) {
	c, _ := coordinator.New(coordinator.Config{})
	for _, cfg := range []Config{{}, {Coordinator: c}, {Coordinator: c, Data: &datadir.Data{}, Grace: -1}} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
	for _, cfg := range []client.Config{{}, {Address: "x:1", Connect: -1}} {
		if _, err := client.Dial(cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}

// Whoever leaves a loop hears nothing more, although the context ends with it.
func TestLoopsAreLeftForGood(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		n := &network{}
		n.serve(t, coordinator.Config{}, Config{})
		client := n.client(t)
		spec := coordtest.TwoStages(2, 2)
		if _, err := client.Submit(t.Context(), &spec, report.Options{}); err != nil {
			t.Fatal(err)
		}
		leave := func(loop func(ctx context.Context, end func())) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			loop(ctx, cancel)
		}
		leave(func(ctx context.Context, end func()) {
			for range client.Watch(ctx, spec.ID) {
				end()
				break
			}
		})
		leave(func(ctx context.Context, end func()) {
			for range client.Commits(ctx, spec.ID, 0) {
				end()
				break
			}
		})
	})
}

// A real socket, with many jobs and connections that break: nothing is left behind.
func TestNothingIsLeft(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	c, err := coordinator.New(coordinator.Config{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Coordinator: c, Data: memoryData(t), Grace: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran, served := make(chan error, 1), make(chan error, 1)
	go func() { ran <- c.Run(ctx) }()
	serving, stop := context.WithCancel(t.Context())
	go func() { served <- s.Run(serving, l) }()
	client, err := client.Dial(client.Config{Address: l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		spec := job.Spec{ID: job.ID(fmt.Sprint("j", i)), Stages: []job.Stage{{Name: "map", Tasks: 2}}}
		if _, err := client.Submit(t.Context(), &spec, report.Options{}); err != nil {
			t.Fatal(err)
		}
		watch, leave := context.WithCancel(t.Context())
		for range client.Watch(watch, spec.ID) {
			break
		}
		for range client.Commits(watch, spec.ID, 0) {
			break
		}
		leave()
		work, err := layshaftv1.NewCoordinatorServiceClient(client.Conn()).Work(watch)
		if err == nil {
			_ = work.Send(&layshaftv1.WorkRequest{Body: &layshaftv1.WorkRequest_Hello{Hello: &layshaftv1.Hello{Protocol: wire.Protocol, Worker: "w", Slots: 1}}})
		}
		if raw, err := net.Dial("tcp", l.Addr().String()); err == nil {
			_, _ = raw.Write([]byte("GET / HTTP/1.1\r\n\r\n\xff\xff\xff\xff"))
			_ = raw.Close()
		}
		if err := client.Cancel(t.Context(), spec.ID, "enough"); err != nil {
			t.Error(err)
		}
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	cancel()
	<-ran
}

// Who waits for a coordinator that is away gets the reason once, within two seconds.
func TestAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, away := time.Now(), []string{}
		var after time.Duration
		c, err := client.Dial(client.Config{Address: "coordinator:7070", Connect: time.Minute, Away: func(why string) { after, away = time.Since(start), append(away, why) },
			Dial: func(context.Context, string) (net.Conn, error) { return nil, errors.New("connection refused") }})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, err = c.Workers(t.Context())
		if len(away) != 1 || after > 2*time.Second || !strings.Contains(away[0], "connection refused; start one there (layshaft coordinator") || !strings.HasSuffix(away[0], "; this tries for up to 1m0s") {
			t.Errorf("%v: after %v %q", err, after, away)
		}
	})
}
