package filesys

import "testing"

func TestPhase(t *testing.T) {
	in := &Input{}
	check := func(want string) {
		t.Helper()
		if got := in.Phase(); got != want {
			t.Errorf("phase %q, want %q", got, want)
		}
	}
	check("")
	in.Begin("listing dataset://x", 0)
	in.Advance(20_000)
	check("listing dataset://x: 20000 files")
	in.Begin("comparing copies of dataset://x", 20_000)
	in.Advance(3000)
	check("comparing copies of dataset://x: 3000 of 20000 files")
}
