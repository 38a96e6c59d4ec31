package layshafttest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/textio"
)

// ugly are the parameters of a job that sets aside each line with the word "ugly".
type ugly struct {
	Path  string
	Fails bool // the line "boom" fails the job
}

// TestQuarantineOfFailedJob checks that a job that fails on a cluster keeps its bad records. Their
// attempts have no output: the limit is exceeded within one, or another error ends it.
func TestQuarantineOfFailedJob(t *testing.T) {
	text := strings.Repeat("fine\nugly\n", 4) + "boom\n"
	for _, c := range []struct {
		name       string
		max, lines int
		fails      bool
		want       string
	}{
		{"too many", 2, 3, false, "MaxBad is 2"},
		{"another failure", 9, 4, true, "boom"},
		{"done", 9, 4, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "in.txt")
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				d := mapreduce.Define("ugly", func(p *mapreduce.Plan, in ugly) mapreduce.Dataset[string] {
					return mapreduce.TryMap(mapreduce.Read(p, textio.Lines(in.Path)), func(_ context.Context, s string) (string, error) {
						switch {
						case s == "ugly":
							return "", mapreduce.Skip(errors.New("an ugly line"))
						case s == "boom" && in.Fails:
							return "", mapreduce.Fatal(errors.New("boom"))
						}
						return s, nil
					})
				}, mapreduce.MaxBad(int64(c.max)))
				cl := Start(t, 2)
				target := cl.Target()
				var printed bytes.Buffer
				target.Err = &printed
				_, err := d.Collect(t.Context(), target, ugly{Path: path, Fails: c.fails})
				if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
					t.Fatalf("error %v, want %q", err, c.want)
				}
				b, err := os.ReadFile(target.Quarantine)
				if err != nil {
					t.Fatalf("%v; printed %s", err, printed.String())
				}
				lines := strings.Split(strings.TrimSpace(string(b)), "\n")
				if len(lines) != c.lines {
					t.Errorf("%d bad records, want %d:\n%s", len(lines), c.lines, b)
				}
				var q mapreduce.Quarantined
				if err := json.Unmarshal([]byte(lines[2]), &q); err != nil || q.Offset != 25 || q.Source != path || q.Error != "an ugly line" || q.Record != "ugly" {
					t.Errorf("record 3 is %+v, %v", q, err)
				}
				if c.want != "" && !strings.Contains(printed.String(), "bad records of the failed run in "+target.Quarantine) {
					t.Errorf("printed %s", printed.String())
				}
			})
		})
	}
}
