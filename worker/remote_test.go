package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
	"github.com/layshaft/layshaft/worker/internal/shuffle"
)

// served is a store and a connection to a server of it.
type served struct {
	dir   string
	store *shuffle.Store
	conn  *grpc.ClientConn
	calls atomic.Int64 // of ReadOutput
	lost  chan job.Attempt

	server *outputServer
}

func serveStore(t testing.TB, opts shuffle.Options) *served {
	t.Helper()
	s := &served{dir: t.TempDir(), lost: make(chan job.Attempt, 1000)}
	opts.Reserve = -1
	var err error
	if s.store, err = shuffle.Open(s.dir, opts); err != nil {
		t.Fatal(err)
	}
	l := bufconn.Listen(1 << 20)
	count := grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
		s.calls.Add(1)
		return h(ctx, req)
	})
	server := grpc.NewServer(append(wire.ServerOptions(quiet, nil), count, grpc.ForceServerCodecV2(newPieceCodec()))...)
	s.server = newOutputServer(s.store, func(a job.Attempt) { s.lost <- a })
	layshaftv1.RegisterWorkerServiceServer(server, &service{outputs: s.server})
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	s.conn, err = grpc.NewClient("passthrough:///x", append(wire.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()), connectParams,
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.conn.Close()
		server.Stop()
		serving.Wait()
		_ = s.store.Close()
	})
	return s
}

// seal writes an output: for each block its place, content and first key.
func (s *served) seal(t testing.TB, a job.Attempt, blocks ...block) *job.Manifest {
	t.Helper()
	w, err := s.store.Create(a)
	for _, b := range blocks {
		if err == nil {
			err = w.Append(b.port, b.run, b.part, b.data, b.records, b.first)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	m, err := w.Seal(context.Background(), map[string]int64{"n": int64(len(blocks))}, [][]byte{[]byte("sink")})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

type block struct {
	port, run, part int
	data            []byte
	records         int
	first           []byte
}

// blocksOf returns n blocks, some of which belong to the same run, of up to size bytes.
func blocksOf(r *rand.Rand, n, size int) (blocks []block) {
	part := 0
	for i := range n {
		b := block{port: 0, part: part, records: r.IntN(9), data: make([]byte, 1+r.IntN(size))}
		if r.IntN(2) == 0 {
			for j := range b.data {
				b.data[j] = byte(r.Uint32())
			}
		}
		blocks = append(blocks, b)
		if r.IntN(3) == 0 {
			part++
		}
		if i%3 == 0 {
			key := fmt.Appendf(nil, "k%05d", i)
			blocks = append(blocks, block{port: 1 + i%2, run: part, part: part, data: bytes.Repeat([]byte{byte(i)}, size/2+1), records: 1, first: key})
		}
	}
	// The blocks of one place are given together.
	var sorted []block
	for port := range 3 {
		for _, b := range blocks {
			if b.port == port {
				sorted = append(sorted, b)
			}
		}
	}
	return sorted
}

// readAll reads runs in turns, as a merge does, and closes them.
func readAll(runs []job.RunReader) (content [][]byte, err error) {
	content = make([][]byte, len(runs))
	open := len(runs)
	ended := make([]bool, len(runs))
	for open > 0 {
		for i, r := range runs {
			if ended[i] {
				continue
			}
			b, e := r.Next()
			if e != nil {
				open, ended[i] = open-1, true
				if e != io.EOF && err == nil {
					err = e
				}
			}
			content[i] = append(append(content[i], b...), '|')
		}
	}
	for _, r := range runs {
		_ = r.Close()
	}
	return content, err
}

// What comes over the network is what the store itself gives, whatever lies where, and however much
// is read at a time.
func TestRemoteEqualsLocal(t *testing.T) {
	noLeaks(t)
	for _, size := range []int{30, 5_000, 200_000} {
		t.Run(fmt.Sprint("size=", size), func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(size), 0))
			s := serveStore(t, shuffle.Options{Compress: size == 5_000})
			far := Remote(s.conn, "w")
			local := outputs{s.store}
			var as []job.Attempt
			for i := range 6 {
				a := job.Attempt{Job: "j", Task: job.Task{Index: i}, N: 1}
				s.seal(t, a, blocksOf(r, r.IntN(min(40, 2_000_000/size)), size)...)
				as = append(as, a)
			}
			for _, want := range [][2]any{{0, 0}, {0, 3}, {1, 1}, {2, 2}, {9, 9}} {
				port, part := want[0].(int), want[1].(int)
				if r.IntN(2) == 0 {
					far.(*remoteOutputs).prefetch(as, port, part)
				}
				same(t, s, as, r, far, local, func(o Outputs, a job.Attempt) ([]job.RunReader, error) { return o.Runs(a, port, part) })
				same(t, s, as, r, far, local, func(o Outputs, a job.Attempt) ([]job.RunReader, error) { return o.All(a, port) })
				lo, hi := fmt.Appendf(nil, "k%05d", r.IntN(20)), fmt.Appendf(nil, "k%05d", 10+r.IntN(30))
				same(t, s, as, r, far, local, func(o Outputs, a job.Attempt) ([]job.RunReader, error) { return o.Range(a, port, lo, hi) })
			}
			m, err := far.Manifest(as[0])
			if err != nil || m.Counters["n"] == 0 && len(m.Extents) > 0 || string(m.Sink[0]) != "sink" {
				t.Errorf("manifest %+v, %v", m, err)
			}
		})
	}
}

// same reads what open returns of all attempts, from both.
func same(t *testing.T, s *served, as []job.Attempt, r *rand.Rand, far, local Outputs, open func(Outputs, job.Attempt) ([]job.RunReader, error)) {
	t.Helper()
	var content [2][][]byte
	ahead := []int{0, 5_000, 1 << 20}[r.IntN(3)]
	for i, o := range []Outputs{far, local} {
		var runs []job.RunReader
		for _, a := range as {
			of, err := open(o, a)
			if err != nil {
				t.Fatal(err)
			}
			runs = append(runs, of...)
		}
		for _, run := range runs {
			if ahead > 0 {
				run.(interface{ ReadAhead(int) }).ReadAhead(ahead)
			}
		}
		var err error
		if content[i], err = readAll(runs); err != nil {
			t.Fatal(err)
		}
	}
	if len(content[0]) != len(content[1]) {
		t.Fatalf("%d runs, want %d", len(content[0]), len(content[1]))
	}
	for i := range content[0] {
		if !bytes.Equal(content[0][i], content[1][i]) {
			t.Fatalf("run %d: %.100q of %d bytes, want %.100q of %d", i, content[0][i], len(content[0][i]), content[1][i], len(content[1][i]))
		}
	}
}

// A reducer of many small outputs makes few calls.
func TestRemoteReadsTogether(t *testing.T) {
	noLeaks(t)
	s := serveStore(t, shuffle.Options{})
	far := newRemote(s.conn, "w", newManifestCache())
	var as []job.Attempt
	for i := range 300 {
		a := job.Attempt{Job: "j", Task: job.Task{Index: i}, N: 1}
		s.seal(t, a, block{data: bytes.Repeat([]byte{byte(i)}, 10_000), records: 1})
		as = append(as, a)
	}
	far.prefetch(as, 0, 0)
	if len(far.prefetched) != len(as) {
		t.Fatalf("%d manifests were fetched ahead, want %d", len(far.prefetched), len(as))
	}
	var runs []job.RunReader
	for _, a := range as {
		of, err := far.Runs(a, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		runs = append(runs, of...)
	}
	content, err := readAll(runs)
	if err != nil || len(content) != len(as) || content[299][9_999] != 299%256 {
		t.Errorf("%d runs, %v", len(content), err)
	}
	if n := s.calls.Load(); n > 4 {
		t.Errorf("%d calls for 3 MB in 300 runs", n)
	}
	if len(far.prefetched)+len(far.unread)+len(far.order) > 0 {
		t.Errorf("left: %d manifests, %d unread, %d in order", len(far.prefetched), len(far.unread), len(far.order))
	}
}

// Runs that are closed before they were read, or in the middle, leave nothing.
func TestRemoteClosed(t *testing.T) {
	noLeaks(t)
	s := serveStore(t, shuffle.Options{})
	far := newRemote(s.conn, "w", newManifestCache())
	a := job.Attempt{Job: "j", N: 1}
	var blocks []block
	for i := range 60 {
		blocks = append(blocks, block{part: i / 20, data: make([]byte, 100_000), records: 1})
	}
	s.seal(t, a, blocks...)
	runs, err := far.All(a, 0)
	if err != nil || len(runs) != 3 {
		t.Fatalf("%d runs, %v", len(runs), err)
	}
	for range 5 {
		if _, err := runs[1].Next(); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range runs {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if _, err := r.Next(); err != io.EOF {
			t.Errorf("Next after Close: %v, want io.EOF", err)
		}
	}
	if len(far.unread) > 0 {
		t.Errorf("%d are unread", len(far.unread))
	}
}

// wantLost fails the test unless err reports the output of a, and no other, as lost.
func wantLost(t *testing.T, err error, a job.Attempt) {
	t.Helper()
	var f *job.Failure
	if !errors.As(err, &f) || f.Kind != job.InputLost || len(f.Lost) != 1 || f.Lost[0] != a {
		t.Errorf("error %v, want that the output of %s is lost", err, a)
	}
}

func TestRemoteDamage(t *testing.T) {
	noLeaks(t)
	damages := map[string]func(t *testing.T, s *served, path string, m *job.Manifest){
		"flipped": func(t *testing.T, _ *served, path string, m *job.Manifest) {
			file, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			var b [1]byte
			at := m.Extents[0].Offset + m.Extents[0].Bytes/2
			_, _ = file.ReadAt(b[:], at)
			b[0] ^= 4
			if _, err := file.WriteAt(b[:], at); err != nil {
				t.Fatal(err)
			}
		},
		"torn": func(t *testing.T, _ *served, path string, m *job.Manifest) {
			if err := os.Truncate(path, m.Extents[0].Bytes/2); err != nil {
				t.Fatal(err)
			}
		},
		"removed": func(t *testing.T, _ *served, path string, _ *job.Manifest) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
		"dropped": func(t *testing.T, s *served, _ string, m *job.Manifest) {
			if err := s.store.Drop(m.Attempt); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			s := serveStore(t, shuffle.Options{})
			far := Remote(s.conn, "w")
			var runs []job.RunReader
			var ms []*job.Manifest
			for i := range 3 {
				a := job.Attempt{Job: "j", Task: job.Task{Index: i}, N: 1}
				ms = append(ms, s.seal(t, a, block{data: bytes.Repeat([]byte("x"), 150_000), records: 1}))
				of, err := far.Runs(a, 0, 0)
				if err != nil {
					t.Fatal(err)
				}
				runs = append(runs, of...)
			}
			bad := ms[1].Attempt
			damage(t, s, filepath.Join(s.dir, "jobs", "j", ms[1].Segment), ms[1])
			for i, r := range runs { // all are read in one call
				b, err := r.Next()
				if i == 1 {
					wantLost(t, err, bad)
				} else if err != nil || len(b) != 150_000 {
					t.Errorf("run %d: %d bytes, %v", i, len(b), err)
				}
				_ = r.Close()
			}
			reported := name == "torn" || name == "removed"
			if (len(s.lost) > 0) != reported {
				t.Errorf("the holder reported %d losses, want some: %v", len(s.lost), reported)
			}
			if _, err := far.Manifest(job.Attempt{Job: "j", Task: job.Task{Index: 9}, N: 1}); err == nil {
				t.Error("a manifest of an output that never was")
			} else {
				wantLost(t, err, job.Attempt{Job: "j", Task: job.Task{Index: 9}, N: 1})
			}
			// A copy is not made of it either.
			into, err := shuffle.Open(t.TempDir(), shuffle.Options{Reserve: -1})
			if err != nil {
				t.Fatal(err)
			}
			defer into.Close()
			for _, m := range ms {
				err := into.Copy(t.Context(), m, shuffle.Remote{Bytes: newRemote(s.conn, "w", newManifestCache()).bytes})
				if m.Attempt == bad {
					wantLost(t, err, bad)
				} else if err != nil {
					t.Error(err)
				}
				if into.Holds(m.Attempt) != (m.Attempt != bad) {
					t.Errorf("the copy of %s is held: %v", m.Attempt, into.Holds(m.Attempt))
				}
			}
		})
	}
}

// failing is a connection whose calls fail.
type failing struct {
	code  codes.Code
	calls int
}

func (f *failing) Invoke(context.Context, string, any, any, ...grpc.CallOption) error {
	f.calls++
	return status.Error(f.code, "no")
}

func (f *failing) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	f.calls++
	return nil, status.Error(f.code, "no")
}

func TestRemoteUnreachable(t *testing.T) {
	for _, tt := range []struct {
		code  codes.Code
		calls int
		kind  job.Kind
	}{
		{codes.Unavailable, 3, job.InputLost},
		{codes.ResourceExhausted, 3, job.InputLost},
		{codes.DeadlineExceeded, 1, job.InputLost},
		{codes.PermissionDenied, 1, job.Transient},
		{codes.Internal, 1, job.Transient},
	} {
		t.Run(tt.code.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &failing{code: tt.code}
				r := newRemote(f, "w7", newManifestCache())
				a := job.Attempt{Job: "j", N: 1}
				began := time.Now()
				b := r.bytes(a, false, 0, 10)
				_, errRead := b.ReadAt(make([]byte, 10), 0)
				if err := b.Close(); err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took > 2*time.Second {
					t.Errorf("gave up after %v", took)
				}
				if f.calls != tt.calls {
					t.Errorf("%d calls, want %d", f.calls, tt.calls)
				}
				_, errManifest := r.Manifest(a)
				for _, err := range []error{errRead, errManifest} {
					var failure *job.Failure
					if !errors.As(err, &failure) || failure.Kind != tt.kind || !strings.Contains(err.Error(), "w7") {
						t.Errorf("error %v, want a failure of kind %v that names the worker", err, tt.kind)
					}
				}
			})
		})
	}
}

// TestRemoteStaysUnreachable reads many outputs of a worker that is gone: only the first one waits
// for it to come back.
func TestRemoteStaysUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &failing{code: codes.Unavailable}
		r := newRemote(f, "w7", newManifestCache())
		began := time.Now()
		for i := range 10 {
			if _, err := r.Manifest(job.Attempt{Job: "j", Task: job.Task{Index: i}, N: 1}); err == nil {
				t.Error("there is a manifest")
			}
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("ten outputs counted as lost after %v, want the wait for one", took)
		}
		f.calls = 0
		time.Sleep(unreachableTime)
		if _, err := r.Manifest(job.Attempt{Job: "j", N: 1}); err == nil || f.calls != 3 {
			t.Errorf("%d calls after %v, want 3 as at first", f.calls, unreachableTime)
		}
	})
}

// Requests that make no sense are refused, and read nothing.
func TestHostileReads(t *testing.T) {
	s := serveStore(t, shuffle.Options{})
	a := job.Attempt{Job: "j", N: 1}
	s.seal(t, a, block{data: []byte("small"), records: 1})
	c := layshaftv1.NewWorkerServiceClient(s.conn)
	p := wire.AttemptToProto(a)
	for _, pieces := range [][]*layshaftv1.Piece{
		{{}},
		{{Attempt: p, Inline: true, Offset: -1, Length: 1}},
		{{Attempt: p, Inline: true, Offset: 0, Length: -1}},
		{{Attempt: p, Inline: true, Offset: 0, Length: 1 << 40}},
		{{Attempt: p, Inline: true, Offset: 1 << 62, Length: 1}},
		{{Attempt: p, Inline: true, Offset: 0, Length: 1000}},
		{{Attempt: p, Offset: 0, Length: 1}},
		{{Attempt: p, Length: maxRead}, {Attempt: p, Length: 1}},
		{{Attempt: &layshaftv1.Attempt{Job: "../../../etc/passwd", N: 1}, Length: 1}},
	} {
		if resp, err := c.ReadOutput(t.Context(), &layshaftv1.ReadOutputRequest{Pieces: pieces}); err == nil {
			t.Errorf("%v: %d bytes came", pieces, len(resp.GetData()))
		}
	}
	// A request without fields gets an empty answer, also with the usual codec.
	if resp, err := c.ReadOutput(t.Context(), &layshaftv1.ReadOutputRequest{}); err != nil || len(resp.GetData()) > 0 {
		t.Errorf("%v, %v", resp, err)
	}
	got, err := c.ReadOutput(t.Context(), &layshaftv1.ReadOutputRequest{Pieces: []*layshaftv1.Piece{{Attempt: p, Inline: true, Length: record.FrameOverhead + 5}}})
	if err != nil || !bytes.HasSuffix(got.GetData(), []byte("small")) {
		t.Errorf("%q, %v", got.GetData(), err)
	}
}

// BenchmarkRemote reads 64 MB in one run, and in 1,000.
func BenchmarkRemote(b *testing.B) {
	for _, runs := range []int{1, 1000} {
		b.Run(fmt.Sprint("runs=", runs), func(b *testing.B) {
			s := serveStore(b, shuffle.Options{})
			a := job.Attempt{Job: "j", N: 1}
			var blocks []block
			for i := range 1024 {
				blocks = append(blocks, block{part: i * runs / 1024, data: make([]byte, 64<<10), records: 1})
			}
			s.seal(b, a, blocks...)
			b.SetBytes(64 << 20)
			for b.Loop() {
				all, err := Remote(s.conn, "w").All(a, 0)
				if err != nil {
					b.Fatal(err)
				}
				for _, r := range all {
					for {
						if _, err := r.Next(); err == io.EOF {
							break
						} else if err != nil {
							b.Fatal(err)
						}
					}
				}
			}
		})
	}
}
