package client_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/internal/client"
	"github.com/layshaft/layshaft/internal/wire"
)

// silent is a connection to a process that is stopped: the kernel accepts, and nobody answers.
type silent struct {
	net.Conn
	closed chan struct{}
	once   *sync.Once
}

func dialSilent(context.Context, string) (net.Conn, error) {
	return silent{nil, make(chan struct{}), &sync.Once{}}, nil
}

func (s silent) Read([]byte) (int, error)         { <-s.closed; return 0, net.ErrClosed }
func (s silent) Write(b []byte) (int, error)      { return len(b), nil }
func (s silent) Close() error                     { s.once.Do(func() { close(s.closed) }); return nil }
func (s silent) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s silent) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s silent) SetDeadline(time.Time) error      { return nil }
func (s silent) SetReadDeadline(time.Time) error  { return nil }
func (s silent) SetWriteDeadline(time.Time) error { return nil }

// Connect also limits the time in which a coordinator accepts connections and does not answer. The
// error tells so, as does the error of a context that ends in the meantime.
func TestSilentCoordinator(t *testing.T) {
	for _, tt := range []struct {
		connect, context time.Duration
		took             time.Duration // a pause may follow an attempt
		want             string
	}{
		{connect: time.Second, took: time.Second, want: "coordinator c:1 cannot be reached: it accepts connections, but does not answer; its process may be stopped"},
		{connect: 4 * time.Second, took: 4 * time.Second, want: "it accepts connections, but does not answer"},
		{connect: 10 * time.Second, context: time.Second, took: time.Second, want: "deadline exceeded; no answer yet from coordinator c:1"},
		{connect: 10 * time.Second, context: 4 * time.Second, took: 4 * time.Second, want: "deadline exceeded; coordinator c:1 cannot be reached: it accepts"},
	} {
		synctest.Test(t, func(t *testing.T) {
			c, err := client.Dial(client.Config{Address: "c:1", Connect: tt.connect, Dial: dialSilent})
			if err != nil {
				t.Fatal(err)
			}
			ctx := t.Context()
			if tt.context > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, tt.context)
				defer cancel()
			}
			begun := time.Now()
			err = c.Cancel(ctx, "job", "")
			if took := time.Since(begun); took < tt.took || took > tt.took+tt.took/4 {
				t.Errorf("Connect %v, context %v: the call took %v", tt.connect, tt.context, took)
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || !errors.Is(err, wire.ErrUnavailable) {
				t.Errorf("Connect %v, context %v: %v, want ErrUnavailable with %q", tt.connect, tt.context, err, tt.want)
			}
			_ = c.Close()
			synctest.Wait()
		})
	}
}
