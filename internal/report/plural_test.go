package report

import "testing"

func TestPlural(t *testing.T) {
	for n, want := range map[int]string{0: "0 queued tasks", 1: "1 queued task", 2: "2 queued tasks"} {
		if got := Plural(n, "queued task"); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
