package s3io

import (
	"context"
	"net/http/httptest"
	"testing"

	"github.com/layshaft/layshaft/internal/filesys/s3/s3test"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/textio"
)

var upper = mapreduce.Define("copy", func(p *mapreduce.Plan, dir string) mapreduce.Dataset[string] {
	return mapreduce.Read(p, textio.Lines(dir+"/in/*.txt"))
})

// TestRun reads and writes objects in a pipeline that names them by path.
func TestRun(t *testing.T) {
	store := s3test.New("bucket")
	store.Put("bucket", "in/a.txt", []byte("one\ntwo\n"))
	server := httptest.NewServer(store)
	defer server.Close()
	for name, value := range map[string]string{"LAYSHAFT_S3_ENDPOINT": server.URL, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "r"} {
		t.Setenv(name, value)
	}
	if err := upper.WriteTo(context.Background(), mapreduce.Local{}, "s3://bucket", textio.Write("s3://bucket/out")); err != nil {
		t.Fatal(err)
	}
	if files := store.Keys("bucket", "out/part-"); len(files) != 1 || string(store.Get("bucket", files[0])) != "one\ntwo\n" {
		t.Errorf("files %q", files)
	}
}
