package files

import (
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/filesys/s3"
	"github.com/layshaft/layshaft/internal/filesys/s3/s3test"
)

// A file that is written again with its size and time has another version, wherever it lies. A job
// over it is another job.
func TestVersionOfContent(t *testing.T) {
	then := time.Unix(1_700_000_000, 0)
	write := func(dirs ...string) func(t *testing.T, text string) {
		return func(t *testing.T, text string) {
			for _, dir := range dirs {
				path := filepath.Join(dir, "in.txt")
				if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
					t.Fatal(err)
				}
				if err := os.Chtimes(path, then, then); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	one, two, local := newDatasets(t, 1), newDatasets(t, 2), t.TempDir()
	server := httptest.NewServer(s3test.New("bucket"))
	defer server.Close()
	env := map[string]string{"LAYSHAFT_S3_ENDPOINT": server.URL, "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "r"}
	objects := &s3.FS{Getenv: func(n string) string { return env[n] }}
	for _, tt := range []struct {
		name, path string
		ctx        context.Context
		write      func(t *testing.T, text string)
	}{
		{"local", local + "/*.txt", t.Context(), write(local)},
		{"one holder", "dataset://d/*.txt", as(far(one.router(""))), write(one.dirs["w1"])},
		{"two holders", "dataset://d/*.txt", as(far(two.router(""))), write(two.dirs["w1"], two.dirs["w2"])},
		{"s3", "s3://bucket/*.txt", filesys.WithSet(t.Context(), filesys.Set{"s3": objects}), func(t *testing.T, text string) {
			w, err := objects.Create(t.Context(), "s3://bucket/in.txt")
			if err == nil {
				if _, err = w.Write([]byte(text)); err == nil {
					err = w.Close()
				}
			}
			if err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			version := func() int64 {
				fs, err := Expand(tt.ctx, []string{tt.path})
				if err != nil || len(fs) != 1 || fs[0].Version == 0 {
					t.Fatalf("%+v, %v", fs, err)
				}
				s, err := WholeFile(tt.ctx, fs[0])
				if err != nil || s.Version != fs[0].Version {
					t.Fatalf("%+v, %v", s, err)
				}
				return s.Version
			}
			tt.write(t, "old\n")
			before := version()
			if again := version(); again != before {
				t.Errorf("the same file has version %d, then %d", before, again)
			}
			tt.write(t, "new\n")
			if after := version(); after == before {
				t.Error("another content has the same version")
			}
		})
	}
}
