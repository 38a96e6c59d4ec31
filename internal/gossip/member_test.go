package gossip

import (
	"bytes"
	"testing"
)

func FuzzDecode(f *testing.F) {
	full, err := Member{Role: "worker", ID: "id", Address: "10.0.0.1:7070", HTTP: "10.0.0.1:7071", Slots: 16, Zone: "z", Platform: "linux/amd64", Version: "v1"}.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	f.Add(append(bytes.Clone(full), "later fields"...))
	f.Add([]byte{metaVersion, 0, 1, 'r', 0, 1, 'a', 0, 0, 0, 0})
	f.Add([]byte{metaVersion, 0, 200})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decode("n", b)
		if err != nil {
			return
		}
		again, err := m.encode()
		if err != nil {
			t.Fatalf("%+v was decoded and is not encoded: %v", m, err)
		}
		if back, err := decode("n", again); err != nil || back != m {
			t.Fatalf("%+v came back as %+v, %v", m, back, err)
		}
	})
}
