// Package port chooses addresses for servers that a test starts.
package port

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
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", first+rand.IntN(last-first))
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			return address
		}
	}
	t.Fatalf("no free port from %d to %d", first, last)
	return ""
}
