package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/filesys/remote"
	"github.com/layshaft/layshaft/internal/filesys/s3"
	"github.com/layshaft/layshaft/internal/filesys/s3/s3test"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// place is where files may lie, as the client and as workers see it.
type place struct {
	dir     string
	client  context.Context
	workers []context.Context
	put     func(t *testing.T, name, text string) // makes an input file below dir
}

// call is a remote.Caller; far hides that all is on one machine.
type call func(ctx context.Context, req *layshaftv1.CallRequest) (*layshaftv1.CallResponse, error)

func (c call) Call(ctx context.Context, req *layshaftv1.CallRequest) (*layshaftv1.CallResponse, error) {
	return c(ctx, req)
}

func far(c remote.Caller) remote.Caller {
	return call(func(ctx context.Context, req *layshaftv1.CallRequest) (*layshaftv1.CallResponse, error) {
		resp, err := c.Call(ctx, req)
		for _, i := range resp.GetInfos() {
			i.Identity = ""
		}
		return resp, err
	})
}

// datasets is a cluster of workers that offer parts of dataset d.
type datasets struct {
	routers map[string]*remote.Router
	dirs    map[string]string
	gone    map[string]bool
}

func newDatasets(t testing.TB, n int) *datasets {
	d := &datasets{map[string]*remote.Router{}, map[string]string{}, map[string]bool{}}
	for i := range n {
		name := fmt.Sprintf("w%d", i+1)
		v, err := remote.OpenVolume(t.TempDir(), name, remote.Outputs)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { v.Close() })
		d.dirs[name] = volumeDir(t, v)
		d.routers[name] = d.router(name)
		d.routers[name].Datasets = map[string]*remote.Volume{"d": v}
	}
	return d
}

func volumeDir(t testing.TB, v *remote.Volume) string {
	resp, err := v.Call(context.Background(), &layshaftv1.CallRequest{Name: ".", Operation: &layshaftv1.CallRequest_Stat{}})
	if err != nil || len(resp.Infos) != 1 || resp.Infos[0].Path == "" {
		t.Skip("this system does not tell its files apart")
	}
	return resp.Infos[0].Path
}

func (d *datasets) router(self string) *remote.Router {
	return &remote.Router{
		Self: self,
		Holders: func(context.Context, string) (here, away []string, _ error) {
			return slices.DeleteFunc(slices.Sorted(maps.Keys(d.routers)), func(w string) bool { return d.gone[w] }), nil, nil
		},
		Peer: func(_ context.Context, w string, _ bool) (remote.Caller, error) {
			if d.gone[w] || d.routers[w] == nil {
				return nil, errors.New("no such worker")
			}
			return call(d.routers[w].Serve), nil
		},
	}
}

// as is the context of a process whose calls c answers.
func as(c remote.Caller) context.Context {
	f := remote.Dataset(c)
	f.Patience = 1 // no worker comes back
	return filesys.WithSet(context.Background(), filesys.Set{"dataset": f})
}

func places(t *testing.T) map[string]func(t *testing.T) place {
	inDir := func(dir string) func(t *testing.T, name, text string) {
		return func(t *testing.T, name, text string) {
			t.Helper()
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	dataset := func(n int, hide func(remote.Caller) remote.Caller) func(t *testing.T) place {
		return func(t *testing.T) place {
			d, next := newDatasets(t, n), 0
			p := place{dir: "dataset://d/x", client: as(hide(d.router("")))}
			for _, w := range slices.Sorted(maps.Keys(d.routers)) {
				p.workers = append(p.workers, as(hide(d.routers[w])))
			}
			p.workers = append(p.workers, as(hide(d.router("w9")))) // offers nothing
			p.put = func(t *testing.T, name, text string) {
				next++
				inDir(filepath.Join(d.dirs[fmt.Sprintf("w%d", next%n+1)], "x"))(t, name, text)
			}
			return p
		}
	}
	client := func(hide func(remote.Caller) remote.Caller) func(t *testing.T) place {
		return func(t *testing.T) place {
			dir := t.TempDir()
			t.Chdir(dir)
			l, err := remote.NewLender("me")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			worker := filesys.WithSet(context.Background(), filesys.Set{"": remote.ClientFS(hide(l), "me"), "client": remote.Client(hide(l))})
			return place{"x", filesys.WithSet(context.Background(), l.Files()), []context.Context{worker}, inDir(filepath.Join(dir, "x"))}
		}
	}
	same := func(c remote.Caller) remote.Caller { return c }
	return map[string]func(t *testing.T) place{
		"os": func(t *testing.T) place {
			dir := t.TempDir()
			return place{dir + "/x", context.Background(), []context.Context{context.Background()}, inDir(dir + "/x")}
		},
		"file": func(t *testing.T) place {
			dir := t.TempDir()
			return place{"file://" + dir + "/x", context.Background(), []context.Context{context.Background()}, inDir(dir + "/x")}
		},
		"dataset": dataset(1, same), "datasets": dataset(3, same), "far datasets": dataset(3, far), "client": client(same), "far client": client(far),
		"s3": func(t *testing.T) place {
			server := httptest.NewServer(s3test.New("bucket"))
			t.Cleanup(server.Close)
			env := map[string]string{"LAYSHAFT_S3_ENDPOINT": server.URL, "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "r"}
			f := &s3.FS{Getenv: func(n string) string { return env[n] }}
			ctx := filesys.WithSet(context.Background(), filesys.Set{"s3": f})
			return place{"s3://bucket/x", ctx, []context.Context{ctx}, func(t *testing.T, name, text string) {
				w, err := f.Create(ctx, "s3://bucket/x/"+name)
				if err != nil {
					t.Fatal(err)
				}
				w.Write([]byte(text))
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
			}}
		},
	}
}

// content returns the lines that pattern holds, read by workers in turn, and sorted when they may
// come in another order: files of one worker share splits.
func (p *place) content(t *testing.T, pattern string, target int64) string {
	t.Helper()
	fs, err := Expand(p.client, []string{pattern})
	if err != nil {
		t.Fatal(err)
	}
	splits, err := Splits(p.client, fs, target)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for i, s := range splits {
		err := Chunks(p.workers[i%len(p.workers)], s, '\n', func(c Chunk) error { out.Write(c.Data); return nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	if !strings.HasPrefix(pattern, "dataset:") {
		return out.String()
	}
	return strings.Join(slices.Sorted(strings.Lines(out.String())), "")
}

// Files of every kind read the same wherever they lie.
func TestReadEverywhere(t *testing.T) {
	text := strings.Repeat("the quick brown fox\n", 20000)
	for name, make := range places(t) {
		t.Run(name, func(t *testing.T) {
			p := make(t)
			for file, data := range map[string]string{"plain": text, "a.gz": gz(text), "b.zst": zst(text, 30000), "seekable.zst": seekable(text, 50000, true), "sub/empty": ""} {
				p.put(t, file, data)
			}
			for pattern, n := range map[string]int{"": 4, "*": 4, "plain": 1, "*.zst": 2, "**/*.gz": 1} {
				for _, target := range []int64{0, 60000} {
					if got := p.content(t, filesys.Join(p.dir, pattern), target); got != strings.Repeat(text, n) {
						t.Errorf("%q in splits of %d: %d bytes, want %d", pattern, target, len(got), n*len(text))
					}
				}
			}
			if n, err := LineOf(p.client, filesys.Join(p.dir, "a.gz"), Gzip, 45); err != nil || n != 3 {
				t.Errorf("line %d, %v", n, err)
			}
		})
	}
}

// attempts writes the parts of a job from all workers, each with a losing attempt.
func (p *place) attempts(t *testing.T, out Output, job string, texts ...string) [][]byte {
	t.Helper()
	var parts [][]byte
	for i, text := range texts {
		for attempt := range 2 {
			ctx := p.workers[(i+attempt)%len(p.workers)]
			a, err := NewAppender(ctx, out, Task{Job: job, Index: i, Of: len(texts), Attempt: attempt + 1}, nil, func(dst []byte, s *string) ([]byte, error) { return append(dst, *s...), nil })
			if err != nil {
				t.Fatal(err)
			}
			if err := a.Write(&text); err != nil {
				t.Fatal(err)
			}
			part, err := a.Close()
			if err != nil {
				t.Fatal(err)
			}
			if attempt == 1 {
				parts = append(parts, part)
			}
		}
	}
	return parts
}

// killer is a file system that stops changing things after a number of changes, as one whose
// process was killed.
type killer struct {
	filesys.FS
	left atomic.Int64
}

var errKilled = errors.New("killed")

func (k *killer) change(f func() error) error {
	if k.left.Add(-1) < 0 {
		return errKilled
	}
	return f()
}
func (k *killer) Create(ctx context.Context, path string) (w filesys.Writer, err error) {
	err = k.change(func() (err error) { w, err = k.FS.Create(ctx, path); return err })
	return w, err
}
func (k *killer) Rename(ctx context.Context, from, to string) error {
	return k.change(func() error { return k.FS.Rename(ctx, from, to) })
}
func (k *killer) Remove(ctx context.Context, path string) error {
	return k.change(func() error { return k.FS.Remove(ctx, path) })
}
func (k *killer) RemoveAll(ctx context.Context, path string) error {
	return k.change(func() error { return k.FS.RemoveAll(ctx, path) })
}

// spreadKiller is one of which files lie on several hosts.
type spreadKiller struct {
	*killer
	filesys.Spread
}

func killAfter(ctx context.Context, path string, n int64) context.Context {
	f, err := filesys.Of(ctx, path)
	if err != nil {
		panic(err)
	}
	k := &killer{FS: f}
	k.left.Store(n)
	var out filesys.FS = k
	if s, ok := f.(filesys.Spread); ok {
		out = spreadKiller{k, s}
	}
	return filesys.WithSet(ctx, filesys.Set{filesys.Scheme(path): out})
}

// Output is committed whole everywhere: killed after any number of changes, Finish goes on to the
// same end, and what can be read in between is the old output, the new one, or an error.
func TestCommitEverywhere(t *testing.T) {
	stride := int64(1)
	if testing.Short() {
		stride = 5
	}
	for name, make := range places(t) {
		if name == "file" || name == "dataset" {
			continue // others like them are slow enough
		}
		for _, kind := range []string{"dir", "one"} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				for kill := int64(0); ; kill += stride {
					p := make(t)
					var out Output = &Dir{Path: p.dir, Ext: "txt", NoSync: true}
					if kind == "one" {
						out = &One{Path: filesys.Join(p.dir, "f.txt"), NoSync: true}
					}
					if err := out.Check(p.client); err != nil {
						t.Fatal(err)
					}
					if err := out.Finish(p.client, "j1", p.attempts(t, out, "j1", "old0\n", "old1\n", "old2\n")); err != nil {
						t.Fatal(err)
					}
					if got := p.content(t, out.String(), 0); got != "old0\nold1\nold2\n" {
						t.Fatalf("%q", got)
					}
					if err := out.Check(p.client); err != nil {
						t.Fatal(err)
					}
					parts := p.attempts(t, out, "j2", "new0\n", "new1\n")
					killed := out.Finish(killAfter(p.client, p.dir, kill), "j2", parts)
					if killed != nil && !errors.Is(killed, errKilled) {
						t.Fatal(killed)
					}
					if _, err := Expand(p.client, []string{out.String()}); err == nil {
						if got := p.content(t, out.String(), 0); got != "old0\nold1\nold2\n" && got != "new0\nnew1\n" {
							t.Fatalf("killed after %d changes, %q can be read", kill, got)
						}
					} else if !strings.Contains(err.Error(), "run that job again") && !errors.Is(err, fs.ErrNotExist) {
						t.Fatal(err)
					}
					for range 2 {
						if err := out.Finish(p.client, "j2", parts); err != nil {
							t.Fatalf("killed after %d changes: %v", kill, err)
						}
						if got := p.content(t, out.String(), 0); got != "new0\nnew1\n" {
							t.Fatalf("killed after %d changes, then %q", kill, got)
						}
					}
					if err := out.Abandon(p.client, "j1"); err != nil {
						t.Fatal(err)
					}
					f, err := filesys.Of(p.client, p.dir)
					if err != nil {
						t.Fatal(err)
					}
					infos, err := f.ReadDir(p.client, p.dir)
					if err != nil {
						t.Fatal(err)
					}
					for _, i := range infos {
						if strings.Contains(i.Path, tempPrefix) {
							t.Errorf("killed after %d changes: %s stays", kill, i.Path)
						}
					}
					if killed == nil {
						break
					}
				}
			})
		}
	}
}

// A dataset's output of which a part is on a worker that is not there cannot be read as if it were
// whole, and parts of an earlier output that come back with their worker are not mixed in.
func TestPartsOnWorkersThatAreGone(t *testing.T) {
	d := newDatasets(t, 3)
	p := place{dir: "dataset://d/x", client: as(d.router(""))}
	for _, w := range []string{"w1", "w2", "w3"} {
		p.workers = append(p.workers, as(d.routers[w]))
	}
	out := &Dir{Path: p.dir, NoSync: true}
	if err := out.Finish(p.client, "j1", p.attempts(t, out, "j1", "old0\n", "old1\n", "old2\n")); err != nil {
		t.Fatal(err)
	}
	d.gone["w2"] = true
	for _, pattern := range []string{p.dir, p.dir + "/*", p.dir + "/part-0000[01]*"} {
		if _, err := Expand(p.client, []string{pattern}); !errors.Is(err, filesys.ErrGone) || !strings.Contains(err.Error(), "worker w2") {
			t.Errorf("%s with w2 gone: %v", pattern, err)
		}
	}
	if _, err := Expand(p.client, []string{p.dir + "/part-00001*"}); err != nil {
		t.Error(err)
	}
	p.workers = []context.Context{p.workers[0], p.workers[2]}
	if err := out.Finish(p.client, "j2", p.attempts(t, out, "j2", "new0\n", "new1\n")); err != nil {
		t.Fatal(err)
	}
	d.gone["w2"] = false
	if got := p.content(t, p.dir, 0); got != "new0\nnew1\n" {
		t.Errorf("%q", got)
	}
	// A worker that was started anew has another name, and the same files.
	parts := p.attempts(t, out, "j3", "a\n", "b\n")
	d.routers["w1b"], d.gone["w1"] = d.router("w1b"), true
	v, err := remote.OpenVolume(d.dirs["w1"], "w1b", remote.Outputs)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	d.routers["w1b"].Datasets = map[string]*remote.Volume{"d": v}
	if err := out.Finish(p.client, "j3", parts); err != nil {
		t.Fatal(err)
	}
	p.workers = p.workers[1:]
	if got := p.content(t, p.dir, 0); got != "a\nb\n" {
		t.Errorf("%q", got)
	}
}

// A part that was moved into place before its worker was lost, and made again elsewhere, is in the
// output once: the former one is removed, or not read when its worker comes back.
func TestPartMadeAgainElsewhere(t *testing.T) {
	stride := int64(1)
	if testing.Short() {
		stride = 5
	}
	for _, tt := range []struct {
		name, again string // the content of the part made again
		away        bool   // the worker during the second Finish
	}{
		{"same content", "b\n", false},
		{"same size", "c\n", false},
		{"another size", "cc\n", false},
		{"same content, worker away", "b\n", true},
		{"same size, worker away", "c\n", true},
		{"another size, worker away", "cc\n", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for kill := int64(0); ; kill += stride {
				d := newDatasets(t, 3)
				p := place{dir: "dataset://d/x", client: as(d.router(""))}
				for w := range d.routers {
					p.workers = append(p.workers, as(d.routers[w]))
				}
				out := &Dir{Path: p.dir, Ext: "txt", NoSync: true}
				part := func(worker string, index, attempt int, text string) []byte {
					t.Helper()
					w, err := out.Create(as(d.routers[worker]), Task{Job: "j", Index: index, Of: 2, Attempt: attempt})
					if err != nil {
						t.Fatal(err)
					}
					if _, err := w.Write([]byte(text)); err != nil {
						t.Fatal(err)
					}
					b, err := w.Close()
					if err != nil {
						t.Fatal(err)
					}
					return b
				}
				first := part("w1", 0, 1, "a\n")
				killed := out.Finish(killAfter(p.client, p.dir, kill), "j", [][]byte{first, part("w2", 1, 1, "b\n")})
				if killed != nil && !errors.Is(killed, errKilled) {
					t.Fatal(killed)
				}
				d.gone["w2"] = tt.away
				if err := out.Finish(p.client, "j", [][]byte{first, part("w3", 1, 2, tt.again)}); err != nil {
					t.Fatalf("killed after %d changes: %v", kill, err)
				}
				d.gone["w2"] = false
				if _, err := Expand(p.client, []string{p.dir}); err != nil {
					t.Fatalf("killed after %d changes: %v", kill, err)
				}
				if got := p.content(t, p.dir, 0); got != "a\n"+tt.again {
					t.Errorf("killed after %d changes, then %q", kill, got)
				}
				var onDisk []string
				for _, dir := range d.dirs {
					names, err := filepath.Glob(filepath.Join(dir, "x", "part-*"))
					if err != nil {
						t.Fatal(err)
					}
					onDisk = append(onDisk, names...)
				}
				if len(onDisk) != 2 && !tt.away {
					t.Errorf("killed after %d changes, then these files are on the disks: %q", kill, onDisk)
				}
				if killed == nil {
					break
				}
			}
		})
	}
}

// Small files share a split as long as one worker has them all.
func TestSplitsShareHosts(t *testing.T) {
	file := func(name string, bytes int64, hosts ...string) File {
		return File{Path: "dataset://d/" + name, Size: bytes, Raw: bytes, Hosts: hosts}
	}
	d := newDatasets(t, 1)
	splits, err := Splits(as(d.router("")), []File{
		file("a", 10, "w1"), file("b", 10, "w2"), file("c", 10, "w1", "w2"), file("d", 10, "w2", "w3"), file("e", 10), file("f", 80, "w1"), file("g", 10),
		file("h", 300, "w1", "w3"), file("i", 10, "w1"),
	}, 100)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range splits {
		got = append(got, fmt.Sprint(strings.ReplaceAll(s.Label, "dataset://d/", ""), s.Hosts))
	}
	want := "3 files, a … f[w1]|2 files, b … d[w2]|2 files, e … g[]|h[0:100][w1 w3]|h[100:200][w1 w3]|h[200:300][w1 w3]|i[w1]"
	if strings.Join(got, "|") != want {
		t.Errorf("\n got %s\nwant %s", strings.Join(got, "|"), want)
	}
}

// Each host of a folder has the folder, also a worker that comes back under another name.
func TestFolderOnSeveralWorkers(t *testing.T) {
	d := newDatasets(t, 2)
	p := place{dir: "dataset://d/x", client: as(d.router(""))}
	s := FolderSink(NewSink("lines", &Dir{Path: p.dir, Ext: "txt"}), "k", func(l string) string { return l[:1] })
	write := func(job string) (parts [][]byte) {
		for i, name := range []string{"w1", "w2"} {
			w, err := OpenSink(as(d.routers[name]), s, Task{Job: job, Index: i, Of: 2, Attempt: 1}, nil, func(dst []byte, v *string) ([]byte, error) { return append(append(dst, *v...), '\n'), nil })
			if err != nil {
				t.Fatal(err)
			}
			line := fmt.Sprint("k", i)
			if err := w.Write(&line); err != nil {
				t.Fatal(err)
			}
			part, err := w.Close()
			if err != nil {
				t.Fatal(err)
			}
			parts = append(parts, part)
		}
		return parts
	}
	finish := func(job string, parts [][]byte) {
		t.Helper()
		if err := s.Finish(p.client, job, parts); err != nil {
			t.Fatal(err)
		}
		if got := p.content(t, p.dir, 0); got != "k0\nk1\n" {
			t.Errorf("%s: %q", job, got)
		}
	}
	p.workers = []context.Context{as(d.routers["w1"]), as(d.routers["w2"])}
	finish("j1", write("j1"))
	if err := os.RemoveAll(filepath.Join(d.dirs["w2"], "x", "k=k")); err != nil {
		t.Fatal(err)
	}
	parts := write("j2")
	d.routers["w2b"], d.gone["w2"] = d.router("w2b"), true
	v, err := remote.OpenVolume(d.dirs["w2"], "w2b", remote.Outputs)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	d.routers["w2b"].Datasets = map[string]*remote.Volume{"d": v}
	p.workers = []context.Context{as(d.routers["w1"]), as(d.routers["w2b"])}
	finish("j2", parts)
}
