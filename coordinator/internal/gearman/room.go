package gearman

import "cmp"

// WaitForRoom blocks while too much waits to be sent to the connection; see Server.MaxPending. A
// broker calls it, without the lock, after it has passed on updates from producers outside this
// package.
func (c *conn) WaitForRoom() { c.out.waitForRoom(c.server.MaxPending) }

// Name returns the argument of SET_CLIENT_ID, else the connection's address. The broker's lock is
// held.
func (c *conn) Name() string { return cmp.Or(c.name, c.net.RemoteAddr().String()) }
