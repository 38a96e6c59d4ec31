package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/workflow"
)

// TestNightly runs two nights. In the first one the printer fails, and the run continues.
func TestNightly(t *testing.T) {
	dir := t.TempDir()
	in := Params{Orders: dir + "/*.csv", Out: dir + "/out/report.txt"}
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("out/.keep", "")
	write("monday.csv", "customer,amount,day\nAnn,10.00,2026-01-30\nBen,2.50,2026-01-31\nAnn,1.00,2026-02-01\n")
	synctest.Test(t, func(t *testing.T) {
		var letters []string
		printed := 0
		d := nightly(mapreduce.Local{}, func(_ context.Context, to Total, key string) error {
			if printed++; printed <= 6 {
				return errors.New("out of paper")
			}
			letters = append(letters, to.Customer)
			return nil
		})
		c := workflow.Config{Dir: dir + "/work"}
		var failed *workflow.StepError
		if err := d.Run(t.Context(), c, in); !errors.As(err, &failed) || failed.Step != "letters" || failed.Attempts != 5 {
			t.Fatal(err)
		}
		if err := d.Run(t.Context(), c, in); err != nil || !slices.Equal(letters, []string{"Ann", "Ben"}) {
			t.Fatalf("%v, letters %v", err, letters)
		}
		want := "month,orders,amount\n2026-01-01,2,12.50\n2026-02-01,1,1.00\n"
		if got, err := os.ReadFile(in.Out); err != nil || string(got) != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
		letters = nil
		go func() {
			time.Sleep(time.Hour)
			write("tuesday.csv", "customer,amount,day\nBen,1.00,2026-02-02\nEve,7.00,2026-02-02\n")
		}()
		if err := d.Run(t.Context(), c, in); err != nil || !slices.Equal(letters, []string{"Ben", "Eve"}) {
			t.Errorf("%v, letters %v", err, letters)
		}
	})
}
