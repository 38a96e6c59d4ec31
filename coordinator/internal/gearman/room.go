package gearman

// WaitForRoom blocks while too much waits to be sent to the connection; see Server.MaxPending. A
// broker calls it, without the lock, after it has passed on updates from producers outside this
// package.
func (c *conn) WaitForRoom() { c.out.waitForRoom(c.server.MaxPending) }

// Name returns the connection's address, for people.
func (c *conn) Name() string { return c.net.RemoteAddr().String() }
