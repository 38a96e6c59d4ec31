//go:build !linux

package gearman

// loop exists on Linux only; elsewhere each connection has a goroutine.
type loop struct{}

func (*conn) forLoop() bool { return false }

func (*Server) adopt(*conn) {}

func (*loop) stop() {}
