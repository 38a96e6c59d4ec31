package files

import (
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/filesys"
)

// A listing of an object store tells the time of an object finer than the object itself does.
func TestUnchangedToTheSecond(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	for _, c := range []struct {
		path  string
		later time.Duration
		same  bool
	}{{"s3://bucket/x", time.Second, true}, {"s3://bucket/x", -time.Second, true}, {"s3://bucket/x", 2 * time.Second, false}, {"x", time.Second, false}} {
		now := filesys.Info{Size: 7, ModTime: at.Add(c.later)}
		if err := CheckUnchanged(now, c.path, 7, at.UnixNano()); (err == nil) != c.same {
			t.Errorf("%s %v later: %v", c.path, c.later, err)
		}
		if err := CheckUnchanged(now, c.path, 8, at.UnixNano()); err == nil {
			t.Errorf("%s of another size counts as unchanged", c.path)
		}
	}
}
