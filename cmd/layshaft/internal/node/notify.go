package node

import (
	"context"
	"net"
	"os"
)

// notify sends a state to the service manager that started this process; see sd_notify(3). It does
// nothing without one. The manager continues without the message, so errors are dropped.
func notify(state string) {
	// A name that begins with @ is an abstract socket, also for package net.
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return
	}
	_, _ = c.Write([]byte(state))
	_ = c.Close()
}

// notifyStates reports that the process serves, and, when ctx ends, that it stops.
func notifyStates(ctx context.Context) {
	notify("READY=1")
	context.AfterFunc(ctx, func() { notify("STOPPING=1") })
}
