package gearman

import (
	"bytes"
	"testing"
)

func FuzzDecode(f *testing.F) {
	for typ := range types {
		f.Add(RequestPacket(Type(typ), []byte("a"), []byte("b"), []byte("c"), []byte("d"), []byte("e")))
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
		if again := RequestPacket(p.typ, args[:types[p.typ].args]...); types[p.typ].args > 0 && !bytes.Equal(again, b[:headerSize+size]) {
			t.Errorf("%q decodes to %q, which encodes to %q", b[:headerSize+size], args[:types[p.typ].args], again)
		}
	})
}

func FuzzEncode(f *testing.F) {
	f.Add(uint32(SubmitJob), []byte("f"), []byte("u"), []byte("data"))
	f.Fuzz(func(t *testing.T, typ uint32, a, b, c []byte) {
		if !Type(typ).isKnown() || types[typ].args != 3 || bytes.IndexByte(a, 0) >= 0 || bytes.IndexByte(b, 0) >= 0 {
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

func TestHandles(t *testing.T) {
	s := &Server{prefix: "H:x:"}
	for _, id := range []uint64{1, 10, 1<<64 - 1} {
		if got := s.parseHandle(s.appendHandle(nil, id)); got != id {
			t.Errorf("handle of %d is that of %d", id, got)
		}
	}
	for _, h := range []string{"", "H:x:", "H:x:0", "H:x:01", "H:x:18446744073709551616", "H:x:99999999999999999999", "H:x:1x", "H:y:1", "H:x:-1"} {
		if got := s.parseHandle([]byte(h)); got != 0 {
			t.Errorf("%q is the handle of %d", h, got)
		}
	}
}
