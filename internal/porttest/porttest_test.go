package porttest

import (
	"net"
	"testing"
)

// Two tests never get one port, even if neither listens yet, and a port that somebody listens on
// is not chosen.
func TestFree(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		a := Free(t)
		if seen[a] {
			t.Fatalf("%s was given twice", a)
		}
		seen[a] = true
	}
	for range 20 {
		p, release, err := choose()
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: p + block - 1})
		if err != nil {
			t.Fatal(err)
		}
		if isFree(p) {
			t.Errorf("block %d is free, though somebody listens on %v", p, l.Addr())
		}
		_ = l.Close()
		release()
	}
}
