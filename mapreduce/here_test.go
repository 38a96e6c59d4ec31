package mapreduce

import (
	"net"
	"testing"
)

// Addresses of loopback and of the interfaces are of this machine, others are not.
func TestIsHere(t *testing.T) {
	for address, want := range map[string]bool{"127.0.0.1:7070": true, "[::1]:1": true, "localhost:1": true, "192.0.2.7:7070": false, "host.example:1": false, "": false} {
		if got := isHere(address); got != want {
			t.Errorf("%q: got %v", address, got)
		}
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range own {
		if n, ok := a.(*net.IPNet); ok && !isHere(net.JoinHostPort(n.IP.String(), "80")) {
			t.Errorf("%s is not taken for an address of this machine", n.IP)
		}
	}
}
