package network

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// pair returns both ends of a connection from a to b.
func pair(t *testing.T, n *Network) (a, b *Host, here, there net.Conn) {
	t.Helper()
	a, b = n.Host("a"), n.Host("b")
	l, err := b.Listen("10.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	if here, err = a.Dial(t.Context(), "10.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	if there, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return a, b, here, there
}

func cutBetween(from, to string) func(string, string) bool {
	return func(f, t string) bool { return f == from && t == to }
}

func TestConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n Network
		_, b, here, there := pair(t, &n)
		if _, err := b.Listen("10.0.0.1:1"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("listen again: %v", err)
		}
		data := make([]byte, 3*window)
		for i := range data {
			data[i] = byte(i * 7)
		}
		go func() {
			_, _ = here.Write(data) // the reader sees what came of it
			_ = here.Close()
		}()
		if got, err := io.ReadAll(there); err != nil || !bytes.Equal(got, data) {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
		if _, err := there.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("write to who has closed: %v", err)
		}
		_ = there.Close()
		if len(n.pipes) != 0 {
			t.Errorf("%d pipes are left", len(n.pipes))
		}
	})
}

func TestCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n Network
		a, _, here, there := pair(t, &n)
		n.Cut(cutBetween("a", "b"))
		b := make([]byte, 10)
		_, _ = there.Write([]byte("back")) // the other way is open
		if k, err := here.Read(b); string(b[:k]) != "back" || err != nil {
			t.Errorf("read %q, %v", b[:k], err)
		}
		_, _ = here.Write([]byte("late"))
		_ = there.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := there.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read through a cut: %v", err)
		}
		_ = there.SetReadDeadline(time.Time{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := a.Dial(ctx, "10.0.0.1:1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dial through a cut: %v", err)
		}
		a.Stop() // nobody hears of it yet
		if _, err := there.Write([]byte("x")); err != nil {
			t.Errorf("write to who is gone behind a cut: %v", err)
		}
		time.AfterFunc(time.Minute, func() { n.Cut(nil) })
		begun := time.Now()
		if _, err := there.Read(b); !errors.Is(err, syscall.ECONNRESET) || time.Since(begun) != time.Minute {
			t.Errorf("read after the cut: %v after %v", err, time.Since(begun))
		}
	})
}

func TestShut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n Network
		a, b, here, there := pair(t, &n)
		b.Stop()
		for _, err := range []error{second(here.Read(make([]byte, 1))), second(here.Write([]byte("x")))} {
			if !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("want a reset, got %v", err)
			}
		}
		if err := second(there.Read(make([]byte, 1))); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read of the dead: %v", err)
		}
		if _, err := a.Dial(t.Context(), "10.0.0.1:1"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial the dead: %v", err)
		}
	})
}

func second(_ int, err error) error { return err }

func TestDelayKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n Network
		r := rand.New(rand.NewPCG(1, 0))
		n.Delay(func(string, string) time.Duration { return time.Duration(r.IntN(int(time.Second))) })
		_, _, here, there := pair(t, &n)
		begun := time.Now()
		for i := range 100 {
			_, _ = here.Write([]byte{byte(i)})
		}
		_ = here.Close()
		got, err := io.ReadAll(there)
		for i, b := range got {
			if int(b) != i {
				t.Fatalf("byte %d is %d", i, b)
			}
		}
		if took := time.Since(begun); err != nil || len(got) != 100 || took < 500*time.Millisecond || took > time.Second {
			t.Errorf("%d bytes, %v, after %v", len(got), err, took)
		}
	})
}

// Messages of long-lived streams are repeated, all other frames and all first messages are not,
// however the bytes are cut.
func TestRepeat(t *testing.T) {
	frame := func(kind, flags byte, stream byte, body string) string {
		return string([]byte{0, 0, byte(len(body)), kind, flags, 0, 0, 0, stream}) + body
	}
	message := func(text string) string { return string([]byte{0, 0, 0, 0, byte(len(text))}) + text }
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	hello, news, unary := frame(0, 0, 1, message("hello")), frame(0, 0, 1, message("news")), frame(0, endStream, 3, message("ask"))
	part, header := frame(0, 0, 1, message("parted")[:7]), frame(1, 4, 1, "header")
	sent := preface + header + hello + news + unary + part + news
	want := preface + header + hello + news + news + unary + part + news + news
	answers := frame(0, 0, 3, message("answer")) + frame(0, 0, 1, message("welcome")) + frame(0, 0, 1, message("go")) + frame(0, 0, 3, message("more"))
	heard := frame(0, 0, 3, message("answer")) + frame(0, 0, 1, message("welcome")) + frame(0, 0, 1, message("go")) + frame(0, 0, 1, message("go")) + frame(0, 0, 3, message("more"))
	for _, size := range []int{1, 3, 10, 1000} {
		synctest.Test(t, func(t *testing.T) {
			var n Network
			_, _, here, there := pair(t, &n)
			c := Repeat(here, func() bool { return true })
			for b := []byte(sent); len(b) > 0; b = b[min(size, len(b)):] {
				if _, err := c.Write(b[:min(size, len(b))]); err != nil {
					t.Fatal(err)
				}
			}
			_, _ = there.Write([]byte(answers))
			got := make([]byte, len(heard))
			if _, err := io.ReadFull(c, got); err != nil || string(got) != heard {
				t.Errorf("heard %q, %v", got, err)
			}
			_ = c.Close()
			if all, err := io.ReadAll(there); err != nil || string(all) != want {
				t.Errorf("sent %q, %v", all, err)
			}
		})
	}
}
