package layshafttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/jsonio"
	"github.com/layshaft/layshaft/mapreduce/textio"
)

// TestRequeueAggregate checks that a run with -requeue on a cluster merges the records in the
// quarantine file into the counts of the run before. The output lies on the machine of the client,
// or in a shared file system, where a stage of the job publishes it.
func TestRequeueAggregate(t *testing.T) {
	for _, scheme := range []string{"", "file://"} {
		t.Run(scheme, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testRequeueAggregate(t, scheme) })
		})
	}
}

func testRequeueAggregate(t *testing.T, scheme string) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	if err := os.MkdirAll(in, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		var text string
		for n := range 40 {
			text += fmt.Sprintf("%s%d\n", []string{"fine", "ugly"}[n%8/7], n%5)
		}
		if err := os.WriteFile(filepath.Join(in, fmt.Sprint(i)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fixed := false
	d := mapreduce.Define("requeue-counts", func(p *mapreduce.Plan, path string) mapreduce.Dataset[mapreduce.None] {
		words := mapreduce.TryMap(mapreduce.Read(p, textio.Lines(path)), func(_ context.Context, s string) (string, error) {
			if strings.HasPrefix(s, "ugly") && !fixed {
				return "", mapreduce.Skip(errors.New("an ugly line"))
			}
			return s[4:], nil
		})
		mapreduce.CountBy(words, func(s string) string { return s }).WriteTo(jsonio.Write[mapreduce.KV[string, int64]](scheme + out))
		return mapreduce.Nothing(p)
	}, mapreduce.MaxBad(100))
	target := Start(t, 2).Target()
	var printed bytes.Buffer
	target.Err = &printed
	counts := func() (all []string) {
		files, _ := filepath.Glob(filepath.Join(out, "part-*"))
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, strings.Fields(string(text))...)
		}
		slices.Sort(all)
		return all
	}
	if _, err := d.Collect(t.Context(), target, in); err != nil {
		t.Fatal(err)
	}
	if got, want := counts(), []string{`{"Key":"0","Value":21}`, `{"Key":"1","Value":21}`, `{"Key":"2","Value":21}`, `{"Key":"3","Value":21}`, `{"Key":"4","Value":21}`}; !slices.Equal(got, want) {
		t.Fatalf("counts %s", got)
	}
	fixed = true
	target.Requeue = target.Quarantine
	for range 2 {
		if _, err := d.Collect(t.Context(), target, in); err != nil {
			t.Fatal(err)
		}
		if got, want := counts(), []string{`{"Key":"0","Value":24}`, `{"Key":"1","Value":24}`, `{"Key":"2","Value":24}`, `{"Key":"3","Value":24}`, `{"Key":"4","Value":24}`}; !slices.Equal(got, want) {
			t.Fatalf("counts %s\n%s", got, printed.String())
		}
	}
	if text, err := os.ReadFile(target.Requeue); err != nil || len(text) > 0 {
		t.Errorf("left %s, %v", text, err)
	}
}
