package datadir

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/layshaft/layshaft/coordinator/replica"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/state"
	"github.com/layshaft/layshaft/internal/wire"
)

func program(text string) report.Code {
	sum := sha256.Sum256([]byte(text))
	return report.Code{SHA256: hex.EncodeToString(sum[:]), Size: int64(len(text)), Platform: "linux/amd64"}
}

func TestCodeStore(t *testing.T) {
	dir := t.TempDir()
	s, err := OpenCodeStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("program", 100_000)
	code := program(text)
	for name, r := range map[string]string{"cut": text[:99], "long": text + "x", "changed": "P" + text[1:]} {
		if err := s.Put(code, strings.NewReader(r)); !errors.Is(err, wire.ErrInvalid) || s.Has(code.SHA256) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.Put(code, strings.NewReader(text)); err != nil || !s.Has(code.SHA256) {
		t.Fatal(err)
	}
	if err := s.Put(code, strings.NewReader(text)); err != nil {
		t.Errorf("again: %v", err)
	}
	var out bytes.Buffer
	if err := s.Get(code.SHA256, &out); err != nil || out.String() != text {
		t.Errorf("got %d bytes, %v", out.Len(), err)
	}
	for _, name := range []string{"", "../../etc/passwd", "abc", strings.ToUpper(code.SHA256), strings.Repeat("0", 64)} {
		if err := s.Get(name, io.Discard); !errors.Is(err, wire.ErrUnknownCode) || s.Has(name) {
			t.Errorf("%q: %v", name, err)
		}
	}

	later := time.Now().Add(time.Hour)
	if err := s.Trim(later, func(string) bool { return true }); err != nil || !s.Has(code.SHA256) {
		t.Errorf("a program that is needed was removed, %v", err)
	}
	if err := s.Trim(time.Now().Add(-time.Hour), func(string) bool { return false }); err != nil || !s.Has(code.SHA256) {
		t.Errorf("a program that was just used was removed, %v", err)
	}
	if err := s.Trim(later, func(string) bool { return false }); err != nil || s.Has(code.SHA256) {
		t.Errorf("a program that nobody needs was kept, %v", err)
	}

	if err := s.Put(code, strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, code.SHA256), []byte("X"+text[1:]), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Get(code.SHA256, io.Discard); !errors.Is(err, wire.ErrDamaged) || s.Has(code.SHA256) {
		t.Errorf("a flipped byte: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 1 || filepath.Base(left[0]) != state.FormatName {
		t.Errorf("left over: %v", left)
	}
}

func TestDataDirectory(t *testing.T) {
	dir := t.TempDir()
	opt := Options{NoSync: true, Reserve: -1}
	d, err := Open(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, opt); err == nil {
		t.Error("opened twice")
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(dir, opt)
	if err != nil || again.Cluster != d.Cluster || len(d.Cluster) != 12 {
		t.Fatalf("cluster %q became %+v, %v", d.Cluster, again, err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	// Any one of the two files with the name is enough.
	file := filepath.Join(dir, "cluster")
	for _, path := range []string{file, file + ".copy"} {
		for _, harm := range []func(path string) error{os.Remove, func(path string) error { return os.WriteFile(path, []byte("x"), 0o600) }} {
			if err := harm(path); err != nil {
				t.Fatal(err)
			}
			again, err := Open(dir, opt)
			if err != nil || again.Cluster != d.Cluster {
				t.Fatalf("%s damaged: %+v, %v", path, again, err)
			}
			if err := again.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.WriteFile(file+".copy", nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", file, file + ".copy"} {
		if err := os.Remove(path); path != "" && err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, opt); err == nil || !strings.Contains(err.Error(), "cluster") || !strings.Contains(err.Error(), "from a backup") {
			t.Errorf("without its name: %v", err)
		}
	}
	opt.AcceptLoss = true
	if again, err = Open(dir, opt); err != nil || again.Cluster == d.Cluster {
		t.Fatalf("without its name, with AcceptLoss: %+v, %v", again, err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

// Open refuses a file of a newer release in the directory, and opens it again after that.
func TestNewerFormat(t *testing.T) {
	dir := t.TempDir()
	opt := Options{NoSync: true, Reserve: -1}
	d, err := Open(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ file, kind string }{{"cluster", "cluster"}, {"code/FORMAT", "programs"}, {"journal/FORMAT", "journal"}} {
		path := filepath.Join(dir, c.file)
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		newer := bytes.Replace(before, []byte(c.kind+" 1\n"), []byte(c.kind+" 2\n"), 1)
		if c.file == "cluster" {
			err = state.WriteFile(path, []byte("layshaft cluster 2\n"))
		} else {
			err = os.WriteFile(path, newer, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, opt); !errors.Is(err, state.ErrFormat) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "use the newer release that wrote it, or another directory") {
			t.Errorf("%s: %v", c.file, err)
		}
		if err := os.WriteFile(path, before, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// The remains of an upload stay until the format is known to be ours.
	left := filepath.Join(dir, "code", "x.tmp")
	if err := errors.Join(os.WriteFile(left, nil, 0o600), os.WriteFile(filepath.Join(dir, "code/FORMAT"), []byte("layshaft programs 2\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, opt); !errors.Is(err, state.ErrFormat) {
		t.Error(err)
	}
	if _, err := os.Stat(left); err != nil {
		t.Errorf("a directory of another release was changed: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "code/FORMAT"), []byte("layshaft programs 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := Open(dir, opt)
	if err != nil || again.Cluster != d.Cluster {
		t.Fatalf("%+v, %v", again, err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// Restore refuses a backup of a newer release, and leaves the directory empty.
func TestRestoreNewerFormat(t *testing.T) {
	var backup bytes.Buffer
	b := &archive{tar: tar.NewWriter(&backup), sum: sha256.New()}
	b.add("layshaft-backup", []byte("layshaft backup 2\n"))
	b.add("unknown to this release", nil)
	if b.fail(b.tar.Close()); b.err != nil {
		t.Fatal(b.err)
	}
	dir := t.TempDir()
	err := Restore(dir, &backup, Options{NoSync: true, Reserve: -1})
	if !errors.Is(err, state.ErrFormat) || !strings.Contains(err.Error(), "use the newer release that wrote it, or another backup") {
		t.Errorf("%v, want ErrFormat and the way out", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

// A copy that is started elsewhere is refused. It can be adopted, or become another cluster. A
// directory that is moved, mounted elsewhere, or restored at its path is no copy.
func TestCopiedDirectory(t *testing.T) {
	opt := Options{NoSync: true, Reserve: -1}
	open := func(dir string, opt Options) (string, error) {
		d, err := Open(dir, opt)
		if err != nil {
			return "", err
		}
		return d.Cluster, d.Close()
	}
	top := t.TempDir()
	original, copied := filepath.Join(top, "original"), filepath.Join(top, "copy")
	name, err := open(original, opt)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(copied, os.DirFS(original)); err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS == "linux" {
		_, err = open(copied, opt)
		if !errors.Is(err, ErrCopied) || !strings.Contains(err.Error(), original) || !strings.Contains(err.Error(), "-adopt") || !strings.Contains(err.Error(), "-fork") {
			t.Errorf("a copy: %v", err)
		}
	}
	adopt, fork := opt, opt
	adopt.Adopt, fork.Fork = true, true
	for _, o := range []Options{adopt, opt} {
		if got, err := open(copied, o); got != name || err != nil {
			t.Errorf("adopted: %s, %v", got, err)
		}
	}
	second := filepath.Join(top, "second")
	if err := os.CopyFS(second, os.DirFS(original)); err != nil {
		t.Fatal(err)
	}
	forked, err := open(second, fork)
	if forked == name || err != nil {
		t.Errorf("forked: %s, %v", forked, err)
	}
	for _, o := range []Options{fork, opt} {
		if got, err := open(second, o); got != forked || err != nil {
			t.Errorf("after the fork: %s, %v", got, err)
		}
	}

	moved := filepath.Join(top, "moved")
	if err := os.Rename(original, moved); err != nil {
		t.Fatal(err)
	}
	if got, err := open(moved, opt); got != name || err != nil {
		t.Errorf("moved: %s, %v", got, err)
	}
	if err := errors.Join(os.CopyFS(original, os.DirFS(moved)), os.RemoveAll(moved), os.Rename(original, moved)); err != nil {
		t.Fatal(err)
	}
	if got, err := open(moved, opt); got != name || err != nil {
		t.Errorf("restored at its path: %s, %v", got, err)
	}
	if err := errors.Join(os.WriteFile(filepath.Join(moved, "place"), []byte("x"), 0o600), os.Remove(filepath.Join(moved, "place.copy"))); err != nil {
		t.Fatal(err)
	}
	if got, err := open(moved, opt); got != name || err != nil {
		t.Errorf("a damaged place: %s, %v", got, err)
	}
}

// A copy of the directory of one of several coordinators is refused, too. Recover takes it, because
// whoever recovers has lost the original; a dry run changes nothing.
func TestCopiedMember(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells the time at which a directory was made")
	}
	opt := Options{NoSync: true, Reserve: -1}
	open := func(dir string, opt Options) (single string, err error) {
		m, err := OpenMember(dir, opt)
		if err != nil {
			return "", err
		}
		return m.Single(), m.Close()
	}
	top := t.TempDir()
	copyOf := func(dir, name string) string {
		to := filepath.Join(top, name)
		if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		return to
	}
	member := filepath.Join(top, "member")
	if _, err := open(member, opt); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(member, "replica"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := open(member, opt); err != nil {
		t.Errorf("the original: %v", err)
	}
	adopt, fork := opt, opt
	adopt.Adopt, fork.Fork = true, true
	copied := copyOf(member, "copy")
	for _, o := range []Options{opt, fork} {
		if _, err := open(copied, o); !errors.Is(err, ErrCopied) || !strings.Contains(err.Error(), member) || !strings.Contains(err.Error(), "-adopt") {
			t.Errorf("a copy: %v", err)
		}
	}
	for _, o := range []Options{opt, adopt, fork} { // a start without -peers changes nothing
		if d, err := Open(copied, o); err == nil || !strings.Contains(err.Error(), "-peers") {
			t.Errorf("a copy of a member opened as a single coordinator: %v, %v", d, err)
		}
		if _, err := open(copied, opt); !errors.Is(err, ErrCopied) {
			t.Errorf("after a start without -peers: %v", err)
		}
	}
	if _, err := Recover(t.Context(), copied, opt, true); errors.Is(err, ErrCopied) {
		t.Errorf("a dry run of recover: %v", err)
	}
	if _, err := open(copied, opt); !errors.Is(err, ErrCopied) {
		t.Errorf("after the dry run: %v", err)
	}
	for _, o := range []Options{adopt, opt} {
		if _, err := open(copied, o); err != nil {
			t.Errorf("adopted: %v", err)
		}
	}

	single := filepath.Join(top, "single")
	d, err := Open(single, opt)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	grown := copyOf(single, "grown")
	if _, err := open(grown, opt); !errors.Is(err, ErrCopied) || !strings.Contains(err.Error(), "-fork") {
		t.Errorf("a copy of a single coordinator with -peers: %v", err)
	}
	// If a fork cannot store its new name, its place is not stored either.
	for what, start := range map[string]func() error{
		"alone": func() error {
			d, err := Open(grown, fork)
			if err == nil {
				err = d.Close()
			}
			return err
		},
		"with -peers": func() error { _, err := open(grown, fork); return err },
	} {
		file := filepath.Join(grown, "cluster.copy")
		if err := errors.Join(os.Remove(file), os.MkdirAll(filepath.Join(file, "full"), 0o700)); err != nil {
			t.Fatal(err)
		}
		if err := start(); err == nil {
			t.Errorf("%s: forked without a place for the name", what)
		}
		if err := errors.Join(os.RemoveAll(file), os.WriteFile(file, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		if _, err := open(grown, opt); !errors.Is(err, ErrCopied) {
			t.Errorf("%s: after a fork that failed: %v", what, err)
		}
	}
	if name, err := open(grown, fork); err != nil || name == d.Cluster || name == "" {
		t.Errorf("forked: %q, %v", name, err)
	}
}

// lostPrograms are programs of several coordinators, of which this one has lost the lead.
type lostPrograms struct{ stored map[string]bool }

func (p *lostPrograms) Has(hash string) bool { return p.stored[hash] }

func (p *lostPrograms) Put(hash string, _ int64, _ io.Reader) error {
	if p.stored == nil {
		p.stored = map[string]bool{}
		return fmt.Errorf("%w: leadership lost while committing log", replica.ErrNotLeading)
	}
	p.stored[hash] = true
	return nil
}

func (p *lostPrograms) Remove(string) error { return nil }

func (p *lostPrograms) Each(func(hash string, size int64, r io.Reader) error) error { return nil }

// An upload during which the lead is lost leaves no program that counts as stored, and clients
// repeat it.
func TestPutWithoutLead(t *testing.T) {
	single, err := OpenCodeStore(filepath.Join(t.TempDir(), "code"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := single.share(&lostPrograms{})
	if err != nil {
		t.Fatal(err)
	}
	c := program("program")
	err = s.Put(c, strings.NewReader("program"))
	if code := status.Code(wire.ToStatus(err)); code != codes.Unavailable || s.Has(c.SHA256) {
		t.Errorf("%v: %v, stored %v", code, err, s.Has(c.SHA256))
	}
	if err := s.Put(c, strings.NewReader("program")); err != nil || !s.Has(c.SHA256) {
		t.Errorf("the second try: %v", err)
	}
}

// Recover says why a directory has nothing to recover, and what to do.
func TestRecoverWithoutReplica(t *testing.T) {
	single := t.TempDir()
	if err := os.Mkdir(filepath.Join(single, "journal"), 0o700); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{
		filepath.Join(single, "missing"): "does not exist on this machine; run the command where",
		single:                           "start it with layshaft coordinator -data",
		t.TempDir():                      "give the directory that -data of the coordinator names",
	} {
		if _, err := Recover(t.Context(), dir, Options{}, true); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", dir, err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(single, "missing")); err == nil {
		t.Error("the directory was made")
	}
}
