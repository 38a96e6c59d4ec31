package gossip

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The same trouble many times a second is logged once in a while.
func TestTroubleIsSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := logger(slog.New(slog.NewTextHandler(&out, nil)))
		count := func(what string) int { return strings.Count(out.String(), what) }
		for port := range 100 {
			log.Printf("[ERR] memberlist: Failed to send ping: write udp 127.0.0.1:%d->10.1.0.1:7946: invalid argument", port)
		}
		log.Print("[ERR] memberlist: another")
		if count("invalid argument") != 1 || count("another") != 1 {
			t.Errorf("logged %s", &out)
		}
		time.Sleep(troubleEvery)
		log.Print("[ERR] memberlist: another")
		if count("another") != 2 {
			t.Errorf("not logged again: %s", &out)
		}
		for i := range 10 * maxTroubles {
			log.Print("[ERR] memberlist: " + fmt.Sprintf("%s of many", strings.Repeat("x", i)))
		}
		if n := len(log.Writer().(*lines).lastLogged); n > maxTroubles {
			t.Errorf("%d kinds are remembered", n)
		}
	})
}
