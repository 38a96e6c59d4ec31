package gossip

import (
	"log"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// delegate receives the calls of memberlist. memberlist holds its locks during these calls.
type delegate struct {
	g    *Gossip
	meta []byte
}

// NotifyAlive refuses nodes without valid metadata of a member.
func (d *delegate) NotifyAlive(n *memberlist.Node) error {
	_, err := decode(n.Name, n.Meta)
	return err
}

func (d *delegate) NotifyJoin(n *memberlist.Node) {
	m, err := decode(n.Name, n.Meta)
	if err != nil {
		return // NotifyAlive refused it
	}
	m.Gossip = n.Address()
	g := d.g
	g.mu.Lock()
	g.members[m.Name] = m
	delete(g.lost, m.Gossip)
	g.mu.Unlock()
	if m.Name != g.cfg.Self.Name {
		g.cfg.Log.Debug("gossip: member found", "member", m.Name, "role", m.Role, "address", m.Address)
	}
	g.notifyChanged()
}

func (d *delegate) NotifyUpdate(n *memberlist.Node) { d.NotifyJoin(n) }

func (d *delegate) NotifyLeave(n *memberlist.Node) {
	g, addr := d.g, n.Address()
	g.mu.Lock()
	m, known := g.members[n.Name]
	delete(g.members, n.Name)
	left := g.leaving[n.Name]
	delete(g.leaving, n.Name)
	if n.Name != g.cfg.Self.Name && !left {
		g.lost[addr] = time.Now()
	}
	// A process may have restarted at this address.
	for _, other := range g.members {
		if other.Gossip == addr {
			delete(g.lost, addr)
		}
	}
	for len(g.lost) > maxLost {
		oldest := addr
		for a, since := range g.lost {
			if since.Before(g.lost[oldest]) {
				oldest = a
			}
		}
		delete(g.lost, oldest)
	}
	g.mu.Unlock()
	if known && n.Name != g.cfg.Self.Name {
		g.cfg.Log.Debug(map[bool]string{true: "gossip: member left", false: "gossip: member gone"}[left], "member", n.Name, "role", m.Role, "address", m.Address)
	}
	g.notifyChanged()
}

// NotifyMsg receives a goodbye.
func (d *delegate) NotifyMsg(b []byte) {
	if len(b) == 0 || b[0] != goodbye {
		return
	}
	name := string(b[1:])
	d.g.mu.Lock()
	defer d.g.mu.Unlock()
	if _, known := d.g.members[name]; known {
		d.g.leaving[name] = true
	}
}

// notifyChanged makes Run call Changed.
func (g *Gossip) notifyChanged() {
	select {
	case g.dirty <- struct{}{}:
	default:
	}
}

func (d *delegate) NodeMeta(int) []byte             { return d.meta }
func (d *delegate) GetBroadcasts(_, _ int) [][]byte { return nil }
func (d *delegate) LocalState(bool) []byte          { return nil }
func (d *delegate) MergeRemoteState([]byte, bool)   {}

// logger returns a logger for memberlist, which writes lines such as "[WARN] memberlist: text".
// Unreachable peers are normal both for memberlist and for Layshaft.
func logger(to *slog.Logger) *log.Logger {
	return log.New(&lines{to: to, lastLogged: map[string]time.Time{}}, "", 0)
}

// lines is a writer for the log lines of memberlist.
type lines struct {
	to *slog.Logger

	// mu guards the fields below.
	mu sync.Mutex
	// lastLogged contains the time of the last log entry for each error text, without numbers.
	lastLogged map[string]time.Time
}

const (
	troubleEvery = 10 * time.Minute // interval between log entries of one kind
	maxTroubles  = 100              // maximum number of remembered kinds
)

var numbers = regexp.MustCompile(`[0-9]+`)

// isRepeated reports whether an error with this text was logged recently.
func (l *lines) isRepeated(text string) bool {
	text = numbers.ReplaceAllString(text, "")
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, ok := l.lastLogged[text]; ok && time.Since(at) < troubleEvery {
		return true
	}
	if len(l.lastLogged) >= maxTroubles {
		clear(l.lastLogged)
	}
	l.lastLogged[text] = time.Now()
	return false
}

func (l *lines) Write(b []byte) (int, error) {
	text := strings.TrimSpace(string(b))
	_, message, found := strings.Cut(text, "memberlist: ")
	if !found {
		message = text
	}
	// memberlist continues for a moment after its shutdown, so errors about closed connections are
	// not logged.
	if strings.HasPrefix(text, "[ERR]") && !strings.Contains(message, "use of closed network connection") && !l.isRepeated(message) {
		l.to.Info("gossip: trouble", "err", message)
	} else {
		l.to.Debug("gossip: " + message)
	}
	return len(b), nil
}
