package postgres

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// slowWriter is a connection whose writes return after the answer has arrived, as on a machine that
// is busy. The driver then begins to read ahead, and still reads after the answer.
type slowWriter struct {
	net.Conn
	answered chan struct{}
}

func (c slowWriter) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if b[0] == 'Q' {
		<-c.answered
	}
	return n, err
}

// Read also receives the rows that the driver has read ahead.
func TestReadAfterSlowWrite(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	answered := make(chan struct{})
	go serveCopy(l, answered)
	cfg, err := pgconn.ParseConfig("host=127.0.0.1 sslmode=disable user=u dbname=d")
	if err != nil {
		t.Fatal(err)
	}
	cfg.DialFunc = func(context.Context, string, string) (net.Conn, error) {
		c, err := net.Dial("tcp", l.Addr().String())
		return slowWriter{c, answered}, err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c := &Conn{Name: "d"}
	if err := c.connect(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exec(ctx, "BEGIN").ReadAll(); err != nil {
		t.Fatal(err)
	}
	rows := 0
	err = c.Read(ctx, "SELECT 1", 1, func([][]byte) (bool, error) { rows++; return true, nil })
	if err != nil || rows != 2 {
		t.Errorf("%d rows, %v", rows, err)
	}
}

// serveCopy accepts a connection and answers BEGIN, and then a COPY with two rows. It reports each
// answer that the client has begun to read ahead: a while after the driver's patience of 15 ms.
func serveCopy(l net.Listener, answered chan<- struct{}) {
	conn, err := l.Accept()
	if err != nil {
		return
	}
	defer conn.Close()
	b := pgproto3.NewBackend(conn, conn)
	if _, err := b.ReceiveStartupMessage(); err != nil {
		return
	}
	b.Send(&pgproto3.AuthenticationOk{})
	b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	if b.Flush() != nil {
		return
	}
	for i := range 2 {
		if _, err := b.Receive(); err != nil {
			return
		}
		if i == 0 {
			time.Sleep(50 * time.Millisecond)
			b.Send(&pgproto3.CommandComplete{CommandTag: []byte("BEGIN")})
		} else {
			b.Send(&pgproto3.CopyOutResponse{OverallFormat: 1, ColumnFormatCodes: []uint16{1}})
			b.Send(&pgproto3.CopyData{Data: copyOf([][]byte{{1}}, [][]byte{{2}})})
			b.Send(&pgproto3.CopyDone{})
			b.Send(&pgproto3.CommandComplete{CommandTag: []byte("COPY 2")})
		}
		b.Send(&pgproto3.ReadyForQuery{TxStatus: 'T'})
		if b.Flush() != nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
		answered <- struct{}{}
	}
	_, _ = b.Receive()
}
