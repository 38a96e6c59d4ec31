package layshafttest

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// Random bytes on the ports of all processes disturb nobody else.
func TestHostileBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Start(t, 3)
		_, wait := begin(t, c, groups, slow)
		r := rand.New(rand.NewPCG(1, 0))
		for _, address := range []string{c.address, "10.1.0.0:7001", "10.1.0.1:7001"} {
			for range 50 {
				conn, err := c.dial(t.Context(), address)
				if err != nil {
					t.Fatal(err)
				}
				b := make([]byte, r.IntN(2000))
				for i := range b {
					b[i] = byte(r.Uint32())
				}
				if r.IntN(2) == 0 {
					b = append([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), b...)
				}
				_, _ = conn.Write(b) // the other side may have hung up
				time.Sleep(time.Millisecond)
				_ = conn.Close()
			}
		}
		slow.check(t, wait())
		if n := len(c.Attempts("")); n != slow.Splits+slow.Groups {
			t.Errorf("%d attempts, want %d", n, slow.Splits+slow.Groups)
		}
	})
}

// A stored block that was changed on disk is a lost output, and made again.
func TestDamagedBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &history{t: t}
		c := Start(t, 3, h.option())
		in := slow
		in.Size = 10_000 // more than fits beside a manifest
		_, wait := begin(t, c, groups, in)
		c.WaitFor("the maps", func() bool { return len(c.Running()) == 6 })
		time.Sleep(time.Second)
		c.Coordinator().Kill()
		time.Sleep(20 * time.Second) // the maps end; no reduce begins
		damaged := damage(t, filepath.Join(c.dir, "worker-1"))
		c.Coordinator().Restart()
		in.check(t, wait())
		if damaged == 0 {
			t.Error("no segment was found")
		}
		if n := h.count("OutputLost"); n == 0 || h.again != n || n > 2 {
			t.Errorf("%d outputs were lost, %d made again, want 1 or 2 of each", n, h.again)
		}
	})
}

// damage flips a byte in each segment below a directory, and returns how many there are.
func damage(t *testing.T, dir string) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".seg" {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil || len(b) == 0 {
			return err
		}
		b[len(b)/2] ^= 1
		n++
		return os.WriteFile(path, b, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
