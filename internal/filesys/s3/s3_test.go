package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/filesys/conform"
	"github.com/layshaft/layshaft/internal/filesys/s3/s3test"
)

// store is an object store that can be made to fail.
type store struct {
	http.Handler
	cut   atomic.Int64 // answers to GET end after so many bytes; zero for never
	fail  atomic.Int64 // so many requests fail with 503
	calls atomic.Int64
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.calls.Add(1)
	if s.fail.Add(-1) >= 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if n := s.cut.Load(); n > 0 && r.Method == http.MethodGet && r.Header.Get("Range") != "" {
		w = &cutter{w, n}
	}
	s.Handler.ServeHTTP(w, r)
}

type cutter struct {
	http.ResponseWriter
	left int64
}

func (c *cutter) Write(p []byte) (int, error) {
	if int64(len(p)) > c.left {
		c.ResponseWriter.Write(p[:c.left])
		panic(http.ErrAbortHandler)
	}
	c.left -= int64(len(p))
	return c.ResponseWriter.Write(p)
}

func newStore(t *testing.T) (*FS, *store) {
	t.Helper()
	s := &store{Handler: s3test.New("bucket")}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	env := map[string]string{"LAYSHAFT_S3_ENDPOINT": server.URL, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
	return &FS{Getenv: func(name string) string { return env[name] }}, s
}

func TestConform(t *testing.T) {
	f, _ := newStore(t)
	conform.Test(t, f, "s3://bucket/dir")
}

func write(t *testing.T, f *FS, path string, data []byte) {
	t.Helper()
	w, err := f.Create(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// A large object goes up in parts and comes down whole, though the connection breaks again and
// again.
func TestBrokenConnections(t *testing.T) {
	f, s := newStore(t)
	data := []byte(strings.Repeat("0123456789abcdef", (2*partSize+12345)/16))
	write(t, f, "s3://bucket/big", data)
	s.cut.Store(3_000_000)
	s.fail.Store(2)
	file, err := f.Open(context.Background(), "s3://bucket/big")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	got, err := io.ReadAll(file.Stream(100, 1<<40))
	if err != nil || string(got) != string(data[100:]) {
		t.Errorf("%d bytes, want %d: %v", len(got), len(data)-100, err)
	}
}

func TestAbortedUpload(t *testing.T) {
	f, _ := newStore(t)
	w, err := f.Create(context.Background(), "s3://bucket/big")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 2*partSize)); err != nil {
		t.Fatal(err)
	}
	w.Abort()
	if _, err := f.Stat(context.Background(), "s3://bucket/big"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// What replaces an object that is being read is an error, not a mixture.
func TestReplacedWhileRead(t *testing.T) {
	f, s := newStore(t)
	write(t, f, "s3://bucket/f", make([]byte, 2<<20))
	s.cut.Store(1 << 20)
	file, err := f.Open(context.Background(), "s3://bucket/f")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r := file.Stream(0, 1<<40)
	if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	write(t, f, "s3://bucket/f", []byte(strings.Repeat("x", 2<<20)))
	n, err := io.Copy(io.Discard, r)
	if err == nil || !strings.Contains(err.Error(), "changed while the job ran") {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestErrors(t *testing.T) {
	ctx := context.Background()
	f, _ := newStore(t)
	for _, c := range []struct {
		path string
		is   error
		want string
	}{
		{"s3://none/x", fs.ErrNotExist, "s3://none/x"}, {"s3://bucket/x", fs.ErrNotExist, "127.0.0.1"}, {"s3://", fs.ErrInvalid, "s3://BUCKET/KEY"},
		{"s3:///x", fs.ErrInvalid, "s3://BUCKET/KEY"}, {"s3://a@bucket/x", fs.ErrInvalid, "s3://BUCKET/KEY"},
	} {
		if _, err := f.Stat(ctx, c.path); !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.path, err)
		}
	}
	for _, endpoint := range []string{"localhost:9000", "ftp://x", "http://x/y"} {
		bad := &FS{Getenv: func(name string) string { return map[string]string{"LAYSHAFT_S3_ENDPOINT": endpoint}[name] }}
		if _, err := bad.Stat(ctx, "s3://bucket/x"); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "https://HOST:PORT") {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `<Error><Code>AccessDenied</Code><Message>no</Message></Error>`)
	}))
	defer refusing.Close()
	denied := &FS{Getenv: func(name string) string {
		return map[string]string{"LAYSHAFT_S3_ENDPOINT": refusing.URL, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_REGION": "r"}[name]
	}}
	if _, err := denied.Open(ctx, "s3://bucket/x"); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "AWS_ACCESS_KEY_ID") {
		t.Error(err)
	}
	// A store that is not there is an error before long.
	short, cancel := context.WithTimeoutCause(ctx, 50*time.Millisecond, errors.New("too late"))
	defer cancel()
	if _, err := (&FS{Getenv: func(name string) string {
		return map[string]string{"LAYSHAFT_S3_ENDPOINT": "http://127.0.0.1:1", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_REGION": "r"}[name]
	}}).Stat(short, "s3://bucket/x"); err == nil || err.Error() != "too late" {
		t.Errorf("a store that is not there: %v", err)
	}
}

func TestOddKeys(t *testing.T) {
	f, _ := newStore(t)
	c, err := f.client("")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutObject(context.Background(), "bucket", "d//x", strings.NewReader("x"), 1, "", "", minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Glob(context.Background(), "s3://bucket/d/**"); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "d//x") {
		t.Errorf("%v", err)
	}
}

var _ filesys.FS = &FS{}
