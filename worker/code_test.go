package worker

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/filesys/remote"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// Programs come from the coordinator once, match their hash, and can be run.
func TestShippedCode(t *testing.T) {
	noLeaks(t)
	b := startBoss(t, "127.0.0.1:0")
	program := bytes.Repeat([]byte("#!/bin/sh\n"), 5000)
	sum := sha256.Sum256(program)
	hash := hex.EncodeToString(sum[:])
	wrong := strings.Repeat("ab", 32)
	b.code[hash], b.code[wrong] = program, program
	for _, id := range []string{"j", "k", "bad", "unknown"} {
		b.spec(job.ID(id), 1)
		b.specs[id].Code = &layshaftv1.Code{Sha256: hash, Size: int64(len(program))}
	}
	b.specs["bad"].Code.Sha256 = wrong
	b.specs["unknown"].Code.Sha256 = "../../etc/passwd"
	run := &stages{fs: []stage{numbers(0)}}
	dir := t.TempDir()
	startNode(t, b, dir, run, func(c *NodeConfig) { c.AllowShippedCode = true })
	s := b.next()
	if !s.hello.GetAllowsShippedCode() || len(s.hello.GetCodes()) > 0 {
		t.Errorf("hello %v", s.hello)
	}
	for _, id := range []job.ID{"j", "k"} {
		for i := range 2 {
			l := launch(0, i, 1)
			l.Attempt.Job = id
			s.launch(l)
			s.done(l.Attempt)
		}
	}
	if n := b.count(hash, 0); n != 1 {
		t.Errorf("the program came %d times", n)
	}
	path := filepath.Join(dir, "code", hash)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("program: %v, %v", info, err)
	}
	if slices.ContainsFunc(run.paths, func(p string) bool { return p != path }) {
		t.Errorf("programs at %q, want %q", run.paths, path)
	}
	for _, id := range []job.ID{"bad", "unknown"} {
		l := launch(0, 0, 1)
		l.Attempt.Job = id
		s.launch(l)
		if f := s.hear().GetFailed(); f == nil {
			t.Errorf("a program of another hash ran for %s", id)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "code", "*")); len(left) != 2 || filepath.Base(left[1]) != "FORMAT" {
		t.Errorf("left: %q", left)
	}
}

func TestGivenCode(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "program")
	if err := os.WriteFile(path, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openCodeStore(filepath.Join(dir, "code"), []string{path}, "", false); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a file that cannot be executed: %v", err)
	}
	if err := os.Chmod(path, 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := openCodeStore(filepath.Join(dir, "code"), []string{path}, "", false)
	if err != nil {
		t.Fatal(err)
	}
	hash := s.configured()[0]
	never := func(io.Writer) error { return errors.New("fetched") }
	if got, err := s.take(hash, never); got != path || err != nil {
		t.Errorf("take = %q, %v", got, err)
	}
	if _, err := s.take(strings.Repeat("00", 32), never); err == nil || !strings.Contains(err.Error(), "-allow-shipped-code") {
		t.Errorf("a program that was not given: %v", err)
	}
	if err := os.WriteFile(path, []byte("another"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := s.take(hash, never); err == nil || !strings.Contains(err.Error(), "changed") {
		t.Errorf("a program that was changed: %v", err)
	}
}

// Programs that no job needs go when there are too many, the one unused for the longest time first.
func TestCodeIsTrimmed(t *testing.T) {
	dir := t.TempDir()
	s, err := openCodeStore(dir, nil, "", true)
	if err != nil {
		t.Fatal(err)
	}
	s.max = 10
	var hashes []string
	for i := range 3 {
		data := []byte{byte(i)}
		sum := sha256.Sum256(data)
		hash := hex.EncodeToString(sum[:])
		path, err := s.take(hash, func(w io.Writer) error { _, err := w.Write(data); return err })
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, hash)
		if err := os.Truncate(path, 6); err != nil {
			t.Fatal(err)
		}
	}
	there := func() (n int) {
		for _, h := range hashes {
			if _, err := os.Stat(filepath.Join(dir, h)); err == nil {
				n++
			}
		}
		return n
	}
	if there() != 3 {
		t.Error("a program that is needed was removed")
	}
	s.release(hashes[0])
	s.release(hashes[1])
	if there() != 2 {
		t.Errorf("%d programs are left, want the needed one and one more", there())
	}
	// One whose file was damaged comes again.
	path, err := s.take(hashes[2], func(w io.Writer) error { _, err := w.Write([]byte{2}); return err })
	if b, _ := os.ReadFile(path); err != nil || !bytes.Equal(b, []byte{2}) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// A program of the store is hashed once, and again when its file is no more what it was then.
func TestKeptCodeIsHashedOnce(t *testing.T) {
	dir := t.TempDir()
	data := []byte("program")
	sum := sha256.Sum256(data)
	hash := hex.EncodeToString(sum[:])
	for _, fresh := range []bool{true, false} { // the second store finds what the first left
		s, err := openCodeStore(dir, nil, "", true)
		if err != nil {
			t.Fatal(err)
		}
		fetched := 0
		take := func(want int) {
			t.Helper()
			path, err := s.take(hash, func(w io.Writer) error { fetched++; _, err := w.Write(data); return err })
			if b, _ := os.ReadFile(path); err != nil || !bytes.Equal(b, data) || fetched != want {
				t.Fatalf("%q came after %d fetches, want %d; %v", b, fetched, want, err)
			}
		}
		n := 0
		if fresh {
			n++
		}
		take(n)
		path := filepath.Join(dir, hash)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		// Other bytes with the same size and time: a second look would show them.
		if err := errors.Join(os.WriteFile(path, []byte("another"), 0o700), os.Chtimes(path, info.ModTime(), info.ModTime())); err != nil {
			t.Fatal(err)
		}
		if _, err := s.take(hash, func(io.Writer) error { fetched++; return nil }); err != nil || fetched != n {
			t.Errorf("it was hashed again, and %d times fetched, want %d (%v)", fetched, n, err)
		}
		if err := os.WriteFile(path, []byte("another"), 0o700); err != nil { // of another time
			t.Fatal(err)
		}
		take(n + 1)
	}
}

// User code on the machine of one worker reaches the files of all; over the
// network each worker serves its own.
func TestFiles(t *testing.T) {
	noLeaks(t)
	b := startBoss(t, "127.0.0.1:0")
	var nodes []*node
	for i := range 2 {
		dir := t.TempDir()
		name := []string{"books", "films"}[i]
		if err := os.WriteFile(filepath.Join(dir, "a.txt"), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		n := startNode(t, b, t.TempDir(), nil, func(c *NodeConfig) { c.Datasets = map[string]string{name: dir} })
		s := b.next()
		if !slices.Equal(s.hello.GetDatasets(), []string{name}) {
			t.Errorf("datasets %q", s.hello.GetDatasets())
		}
		b.workers = append(b.workers, &layshaftv1.WorkerStatus{Hello: s.hello})
		nodes = append(nodes, n)
	}
	dial := func(target string) *grpc.ClientConn {
		conn, err := grpc.NewClient(target, append(wire.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	socket := nodes[0].jobs.files
	local := remote.Dataset(remote.Conn(dial(socket)))
	local.Patience = 1
	for _, name := range []string{"books", "films"} {
		f, err := local.Open(t.Context(), "dataset://"+name+"/a.txt")
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(f.Stream(0, 100))
		if err != nil || string(data) != name {
			t.Errorf("%s: %q, %v", name, data, err)
		}
		_ = f.Close()
	}
	far := remote.Dataset(remote.Conn(dial(nodes[0].address())))
	far.Patience = 1
	if _, err := far.Stat(t.Context(), "dataset://books/a.txt"); err != nil {
		t.Error(err)
	}
	if _, err := far.Stat(t.Context(), "dataset://films/a.txt"); err == nil {
		t.Error("a worker answers the network for another worker's files")
	}
	// A client that comes is reached, and one that does not is gone.
	lender, err := remote.NewLender("me")
	if err != nil {
		t.Fatal(err)
	}
	defer lender.Close()
	file := filepath.Join(t.TempDir(), "mine.txt")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	path, err := filesys.Lend(filesys.WithSet(t.Context(), lender.Files()), file)
	if err != nil {
		t.Fatal(err)
	}
	lending, err := layshaftv1.NewWorkerServiceClient(dial(nodes[0].address())).Lend(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		_ = lending.Send(&layshaftv1.LendRequest{Volume: lender.Volume()})
		for {
			m, err := lending.Recv()
			if err != nil {
				return
			}
			resp, _ := lender.Call(t.Context(), m.GetCall())
			resp.Id = m.GetCall().GetId()
			_ = lending.Send(&layshaftv1.LendRequest{Answer: resp})
		}
	}()
	client := remote.Client(remote.Conn(dial(socket)))
	client.Patience = 1
	if info, err := client.Stat(t.Context(), path); err != nil || info.Size != 4 {
		t.Errorf("%+v, %v", info, err)
	}
	_ = lending.CloseSend()
	<-answered
}

func TestLocalSocketInALongDirectory(t *testing.T) {
	l, remove, err := listenLocal(filepath.Join(t.TempDir(), strings.Repeat("d", 120)))
	if err != nil {
		t.Fatal(err)
	}
	path := l.Addr().(*net.UnixAddr).Name
	if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory of the socket: %v, %v", info, err)
	}
	if err := errors.Join(l.Close(), remove()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Dir(path)); err == nil {
		t.Error("the directory is left")
	}
}
