package gearman

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"testing"
	"time"
)

func FuzzDecode(f *testing.F) {
	for typ := range types {
		f.Add(requestPacket(Type(typ), []byte("a"), []byte("b"), []byte("c"), []byte("d"), []byte("e")))
	}
	f.Add([]byte("\x00REQ\x00\x00\x00\x07\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, size, ok, err := decodeHeader(b, 1<<20)
		if err != nil || !ok || len(b) < headerSize+size {
			return
		}
		p.body = b[headerSize : headerSize+size]
		var args [maxArgs][]byte
		if p.args(&args) != nil || p.response {
			return
		}
		if again := requestPacket(p.typ, args[:types[p.typ].args]...); types[p.typ].args > 0 && !bytes.Equal(again, b[:headerSize+size]) {
			t.Errorf("%q decodes to %q, which encodes to %q", b[:headerSize+size], args[:types[p.typ].args], again)
		}
	})
}

func FuzzEncode(f *testing.F) {
	f.Add(uint32(SubmitJob), []byte("f"), []byte("u"), []byte("data"))
	f.Fuzz(func(t *testing.T, typ uint32, a, b, c []byte) {
		if !Type(typ).known() || types[typ].args != 3 || bytes.IndexByte(a, 0) >= 0 || bytes.IndexByte(b, 0) >= 0 {
			return
		}
		raw := appendPacket(nil, Type(typ), a, b, c)
		p, size, ok, err := decodeHeader(raw, len(raw))
		if err != nil || !ok || headerSize+size != len(raw) || p.typ != Type(typ) || !p.response {
			t.Fatalf("%q: %v %d %v %v", raw, p, size, ok, err)
		}
		p.body = raw[headerSize:]
		var args [maxArgs][]byte
		if err := p.args(&args); err != nil || !bytes.Equal(args[0], a) || !bytes.Equal(args[1], b) || !bytes.Equal(args[2], c) {
			t.Fatalf("%q %q %q come back as %q, %v", a, b, c, args, err)
		}
	})
}

// FuzzServer sends any bytes, in two pieces. The server survives, gives back what jobs and sessions held, and every byte that it
// answers belongs to a packet or a line.
func FuzzServer(f *testing.F) {
	seed := func(packets ...[]byte) { f.Add(bytes.Join(packets, nil), uint16(9)) }
	seed(requestPacket(SubmitJob, []byte("f"), []byte("u"), []byte("data")), requestPacket(CanDo, []byte("f")), requestPacket(GrabJobAll),
		requestPacket(WorkStatus, []byte("H:x:1"), []byte("1"), []byte("2")), requestPacket(WorkException, []byte("H:x:1"), []byte("oh")))
	seed(requestPacket(SubmitJobEpoch, []byte("f"), []byte("-"), []byte("99999999999"), []byte("x")), []byte("show jobs\nstatus\nworkers\n"))
	seed(requestPacket(CanDoTimeout, []byte("f"), []byte("1")), requestPacket(PreSleep), requestPacket(SubmitJobLowBG, []byte("f"), nil, nil),
		[]byte("maxqueue f 1 2\ncancel job H:x:1\ndrop function f\nshutdown\n"))
	seed(requestPacket(SubmitReduceJob, []byte("f"), nil, []byte("r"), nil, []byte("x")), []byte("\x00REQ\x00\x00\x00\x08\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		m := NewMemory()
		m.FirstID = 1
		l := newPipeListener()
		s := &Server{Listener: l, Broker: m, HandlePrefix: "H:x", MaxBody: 1 << 20}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Run(ctx) }()
		c := l.dial()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		got := make(chan []byte)
		go func() {
			all, _ := io.ReadAll(c)
			got <- all
		}()
		n := min(int(cut), len(b))
		_, _ = c.Write(b[:n])
		_, _ = c.Write(b[n:])
		other := newClient(l.dial())
		other.read(t)
		if other.closed {
			t.Error("another connection was closed")
		}
		other.Close()
		cancel()
		<-ended
		checkAnswers(t, <-got)
		for name, f := range m.functions {
			if len(f.workers) > 0 || len(f.asleep) > 0 || f.running > 0 {
				t.Errorf("function %q has workers or running jobs after all have left: %+v", name, f)
			}
			for _, j := range f.unique {
				if len(j.clients) > 0 || !j.background {
					t.Errorf("job %d is kept for nobody", j.id)
				}
			}
		}
	})
}

// checkAnswers fails when b is not a sequence of packets and lines. The last may be cut by the end of the connection.
func checkAnswers(t *testing.T, b []byte) {
	for len(b) > 0 {
		if b[0] != 0 {
			_, b, _ = bytes.Cut(b, []byte("\n"))
			continue
		}
		if len(b) < headerSize {
			return
		}
		size := binary.BigEndian.Uint32(b[8:])
		if p, _, _, err := decodeHeader(b, 1<<30); err != nil || !p.response {
			t.Fatalf("answer %.50q: %v", b, err)
		}
		b = b[min(len(b), headerSize+int(size)):]
	}
}
