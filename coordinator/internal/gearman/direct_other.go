//go:build !unix

package gearman

import (
	"errors"
	"net"
)

// direct exists on Unix only; elsewhere connections use net.Conn.
type direct struct{}

func newDirect(net.Conn) *direct { return nil }

func (*direct) wait([]byte) (*[readSize]byte, int, error) { return nil, 0, errors.ErrUnsupported }

func (*direct) try([][]byte) (int, error) { return 0, errors.ErrUnsupported }
