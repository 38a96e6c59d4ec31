package remote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/layshaft/layshaft/internal/filesys"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// Copies of one file must be equal, whatever their times. Files on only one worker are not read for
// that.
func TestSame(t *testing.T) {
	ctx, c := context.Background(), newCluster(t, "w1", "w2", "w3")
	put(t, c.dirs["w1"]+"/equal", "text")
	put(t, c.dirs["w2"]+"/equal", "text")
	put(t, c.dirs["w1"]+"/alone", "text")
	put(t, c.dirs["w1"]+"/content", "text")
	put(t, c.dirs["w3"]+"/content", "TEXT")
	put(t, c.dirs["w2"]+"/size", "text")
	put(t, c.dirs["w3"]+"/size", "longer")
	if err := os.Chtimes(c.dirs["w1"]+"/equal", time.Time{}, time.Unix(1000, 0)); err != nil {
		t.Fatal(err)
	}
	r := c.router()
	peer, asked := r.Peer, map[string]bool{}
	r.Peer = func(ctx context.Context, worker string, anew bool) (Caller, error) {
		to, err := peer(ctx, worker, anew)
		return caller(func(ctx context.Context, req *layshaftv1.CallRequest) (*layshaftv1.CallResponse, error) {
			for _, name := range req.GetDigest().GetNames() {
				c.mu.Lock()
				asked[worker+" "+name] = true
				c.mu.Unlock()
			}
			return to.Call(ctx, req)
		}), err
	}
	f := Dataset(far{r})
	same := func(glob string) error {
		infos, err := f.Glob(ctx, glob)
		if err != nil {
			t.Fatal(err)
		}
		return f.CheckCopies(ctx, infos)
	}
	if err := same("dataset://d/{equal,alone}"); err != nil || len(asked) != 2 || !asked["w1 equal"] || !asked["w2 equal"] {
		t.Errorf("asked for %v: %v", asked, err)
	}
	for path, want := range map[string][]string{"dataset://d/content": {"w1", "w3", "content"}, "dataset://d/size": {"4 bytes on worker w2", "6 bytes on worker w3"}} {
		err := same(path)
		for _, want := range append(want, path+": its copies", "make the copies equal") {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v does not say %q", path, err, want)
			}
		}
	}
	c.stop["w2"]()
	infos := []filesys.Info{{Path: "dataset://d/equal", Hosts: []string{"w1", "w2"}}}
	f.Patience = time.Millisecond
	if err := f.CheckCopies(ctx, infos); err != nil || !slices.Equal(infos[0].Hosts, []string{"w1"}) {
		t.Errorf("a holder that cannot be reached: %v, %v", infos[0].Hosts, err)
	}
}

type caller func(ctx context.Context, req *layshaftv1.CallRequest) (*layshaftv1.CallResponse, error)

func (c caller) Call(ctx context.Context, req *layshaftv1.CallRequest) (*layshaftv1.CallResponse, error) {
	return c(ctx, req)
}

// A file is read once for its digest, and again after a change, even if size and time stay the
// same.
func TestDigests(t *testing.T) {
	defer func(d time.Duration) { settled = d }(settled)
	settled = 0
	dir := t.TempDir()
	v, err := OpenVolume(dir, "w", Unlimited)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	put(t, dir+"/a/f", "text")
	digest := func(name string) (string, error) {
		resp, err := v.Call(context.Background(), &layshaftv1.CallRequest{Operation: &layshaftv1.CallRequest_Digest{Digest: &layshaftv1.DigestFiles{Names: []string{name}}}})
		if err = responseError(resp, err); err != nil {
			return "", err
		}
		return string(resp.Infos[0].Digest), nil
	}
	first, err := digest("a/f")
	want := xxh3.HashString128("text").Bytes()
	if err != nil || first != string(want[:]) {
		t.Fatalf("%x, %v", first, err)
	}
	mark := v.sums.known["a/f"]
	mark.sum = []byte("remembered")
	v.sums.known["a/f"] = mark
	if again, err := digest("a/f"); again != "remembered" || err != nil {
		t.Errorf("it was read again: %q, %v", again, err)
	}
	fi, err := os.Stat(dir + "/a/f")
	if err != nil {
		t.Fatal(err)
	}
	for state := mark.state; state == mark.state; { // the file system's clock ticks a few hundred times a second
		put(t, dir+"/a/f", "TEXT")
		if err := os.Chtimes(dir+"/a/f", time.Time{}, fi.ModTime()); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(dir + "/a/f")
		if err != nil {
			t.Fatal(err)
		}
		state, _ = filesys.StateOf(f)
		f.Close()
	}
	if other, err := digest("a/f"); err != nil || other == "remembered" || other == first {
		t.Errorf("a changed file: %q, %v", other, err)
	}
	for name, want := range map[string]error{"a": fs.ErrInvalid, "../f": fs.ErrInvalid, "none": fs.ErrNotExist} {
		if _, err := digest(name); !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// BenchmarkSame lists and compares 20,000 small files of two holders, for the first time and again.
func BenchmarkSame(b *testing.B) {
	ctx, c := context.Background(), newCluster(b, "w1", "w2")
	for _, dir := range c.dirs {
		for i := range 20_000 {
			put(b, fmt.Sprintf("%s/%05d", dir, i), "a small file")
		}
	}
	for _, name := range []string{"first", "again"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if name == "first" {
					for _, r := range c.routers {
						clear(r.Datasets["d"].sums.known)
					}
				}
				f := Dataset(far{c.router()})
				infos, err := f.Glob(ctx, "dataset://d/*")
				if err == nil {
					err = f.CheckCopies(ctx, infos)
				}
				if err != nil || len(infos) != 20_000 {
					b.Fatal(len(infos), err)
				}
			}
		})
	}
}
