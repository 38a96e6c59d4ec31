package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/layshaft/layshaft/mapreduce/pgio"
)

// database runs single statements in a database, over a few connections.
type database struct {
	name string
	idle chan *pgconn.PgConn // nil stands for a connection that is not made yet
}

// openDatabase returns a database with n connections. They are made when they are needed.
func openDatabase(name string, n int) *database {
	d := &database{name, make(chan *pgconn.PgConn, n)}
	for range n {
		d.idle <- nil
	}
	return d
}

// take returns a connection. While the server restarts, it tries again for up to a minute.
func (d *database) take(ctx context.Context) (c *pgconn.PgConn, err error) {
	select {
	case c = <-d.idle:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	for pause := time.Second; c == nil || c.IsClosed(); pause *= 2 {
		if c, err = pgio.Connect(ctx, d.name); err == nil {
			break
		}
		c = nil
		if pause > 32*time.Second || ctx.Err() != nil {
			d.idle <- nil
			return nil, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
	return c, nil
}

// query runs a statement and returns its rows as text. NULL is nil.
func (d *database) query(ctx context.Context, sql string, args ...string) ([][][]byte, error) {
	c, err := d.take(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { d.idle <- c }()
	values := make([][]byte, len(args))
	for i, a := range args {
		values[i] = []byte(a)
	}
	r := c.ExecParams(ctx, sql, values, nil, nil, nil).Read()
	return r.Rows, r.Err
}

func (d *database) close() {
	for range cap(d.idle) {
		if c := <-d.idle; c != nil {
			_ = c.Close(context.Background()) // nothing is open
		}
	}
}
