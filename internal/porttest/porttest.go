// Package porttest chooses addresses for servers that a test starts.
package porttest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// The ports lie below those that a system gives to connections (on Linux ip_local_port_range, from
// 32768), so that no connection takes one before the server listens.
const first, last = 20_000, 32_000

// Free returns an address on 127.0.0.1 on which nobody listens.
func Free(t testing.TB) string {
	t.Helper()
	p, err := Choose()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", p)
}

// Choose returns a port of 127.0.0.1 on which nobody listens.
func Choose() (int, error) {
	for range 100 {
		p := first + rand.IntN(last-first)
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p)); err == nil {
			return p, l.Close()
		}
	}
	return 0, fmt.Errorf("no free port from %d to %d", first, last)
}
