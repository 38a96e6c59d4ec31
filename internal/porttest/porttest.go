// Package porttest chooses addresses for servers that a test starts.
package porttest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// The ports lie below the ports that a system gives to connections (on Linux ip_local_port_range,
// from 32768), so that no connection takes one before the server listens. They are reserved in
// blocks: some programs also listen on the ports that follow.
const first, last, block = 20_000, 32_000, 4

// Free returns an address on 127.0.0.1 on which nobody listens. No other test on this machine gets
// its port, nor one of the three ports that follow, until t ends.
func Free(t testing.TB) string {
	t.Helper()
	p, release, err := choose()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return fmt.Sprintf("127.0.0.1:%d", p)
}

// Choose returns a port of 127.0.0.1 like Free. It is reserved until this process ends.
func Choose() (int, error) {
	p, _, err := choose()
	return p, err
}

// errTaken means that another test has a block of ports.
var errTaken = errors.New("taken by another test")

// choose reserves a block of ports and returns its first one.
func choose() (port int, release func(), err error) {
	for range 1000 {
		port = first + block*rand.IntN((last-first)/block)
		release, err = reserve(port)
		if errors.Is(err, errTaken) {
			continue
		}
		if err != nil {
			return 0, nil, err
		}
		if isFree(port) {
			return port, release, nil
		}
		release()
	}
	return 0, nil, fmt.Errorf("no free port from %d to %d", first, last)
}

// isFree reports whether nobody listens on a block of ports. Gossip uses both protocols.
func isFree(port int) bool {
	for p := port; p < port+block; p++ {
		address := fmt.Sprintf("127.0.0.1:%d", p)
		l, err := net.Listen("tcp", address)
		if err != nil {
			return false
		}
		_ = l.Close()
		packets, err := net.ListenPacket("udp", address)
		if err != nil {
			return false
		}
		_ = packets.Close()
	}
	return true
}
