package gearman

// WaitForRoom blocks while too much waits to be sent to the connection; see Server.MaxPending. A broker calls it, without the lock, for connections
// that it had updates for on behalf of others than connections of this package.
func (c *conn) WaitForRoom() { c.out.waitForRoom(c.server.MaxPending) }

// Name is the connection's address, for people.
func (c *conn) Name() string { return c.net.RemoteAddr().String() }
