package layshafttest_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/layshafttest"
)

// A run for whose tags there is no worker prints within two seconds what it waits for, once. So
// does a run whose coordinator goes away.
func TestWaitingIsPrinted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := layshafttest.Start(t, 1)
		var out bytes.Buffer
		target := c.Target()
		target.Err, target.Tags = &out, []string{"gpu"}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := Squares.Collect(ctx, target, 6)
			ended <- err
		}()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if want := "layshaft: waiting: no worker has the tag gpu; start one with: layshaft worker -tags gpu\n"; strings.Count(out.String(), want) != 1 {
			t.Errorf("%q lacks %q", out.String(), want)
		}
		out.Reset()
		c.Coordinator().Kill()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := out.String(); strings.Count(got, "layshaft: waiting: ") != 1 || !strings.Contains(got, "start one there (layshaft coordinator") {
			t.Errorf("without a coordinator: %q", got)
		}
		c.Coordinator().Restart()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
