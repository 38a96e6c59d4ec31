package node

import (
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/layshaft/layshaft/internal/porttest"
)

func TestWrongPortAnswer(t *testing.T) {
	for head, want := range map[string]string{
		"GET / HTTP/1.1\r\nHost: c1:7070\r\n\r\n": "HTTP/1.1 400 Bad Request\r\n",
		"\x00REQ\x00\x00\x00\x0b\x00\x00\x00\x00": "\x00RES\x00\x00\x00\x13",
		"status\n":                         "ERR WRONG_PORT ",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": "",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n": "",
		"": "",
	} {
		if got := wrongPortAnswer(head); (got == "") != (want == "") || !strings.HasPrefix(got, want) {
			t.Errorf("%q is answered with %q, want %q", head, got, want)
		}
	}
}

// A worker whose -join names another port of the coordinator reports it within its first try.
func TestJoinAtWrongPort(t *testing.T) {
	t.Parallel()
	cfg := CoordinatorConfig{Common: local()}
	cfg.Gearman = porttest.Free(t)
	at := startCoordinator(t, cfg)
	for address, want := range map[string]string{at.GRPC: "gRPC (-listen)", at.HTTP: "HTTP (-http)", cfg.Gearman: "Gearman (-gearman)"} {
		log := &found{text: "its flag -gossip", line: make(chan string, 1)}
		w := WorkerConfig{Common: local()}
		w.Join, w.Log = []string{address}, slog.New(slog.NewTextHandler(log, nil))
		startWorker(t, w)
		if line := <-log.line; !strings.Contains(line, "join="+address) || !strings.Contains(line, want) {
			t.Errorf("-join %s: %s, want %q", address, line, want)
		}
	}
}

// found is a log that sends the first line with a text.
type found struct {
	text string
	once sync.Once
	line chan string
}

func (f *found) Write(p []byte) (int, error) {
	if strings.Contains(string(p), f.text) {
		f.once.Do(func() { f.line <- string(p) })
	}
	return len(p), nil
}
