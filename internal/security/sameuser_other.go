//go:build !linux

package security

import (
	"net"
	"os"
)

// peerUser cannot find the owner of a socket on this system, and admits every user.
func peerUser(_, _ net.Addr) (int, error) { return os.Getuid(), nil }
