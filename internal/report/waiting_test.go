package report

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		w := Waiting{Print: func(why string) { got = append(got, why) }}
		for _, step := range []struct {
			why  string
			last time.Duration
		}{{"short", time.Second}, {"", time.Second}, {"a", time.Second}, {"a", time.Second}, {"", time.Hour}, {"a", time.Hour}, {"b", 2 * time.Second}, {"a", time.Second}, {"", time.Hour}} {
			w.Update(step.why)
			time.Sleep(step.last)
			synctest.Wait()
		}
		if want := []string{"a", "b"}; !slices.Equal(got, want) {
			t.Errorf("printed %q, want %q", got, want)
		}
	})
}
