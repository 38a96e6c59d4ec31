// Package gossip lets the processes of a cluster find each other from any one address. It owns the memberlist of
// HashiCorp: nobody else imports it.
//
// What it says is a hint. A member that is gone here may be alive behind a cut wire, and one that is here may be dead for
// half a minute; the lease that a coordinator grants is what decides. A key identifies the cluster, not the process: who
// a process is, its certificate says.
package gossip

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"golang.org/x/sync/errgroup"
)

// KeySize is the size of a key in bytes.
const KeySize = 32

// leaveTimeout is how long Run tells others that the process goes.
const leaveTimeout = 2 * time.Second

// Config says who gossips, where and with whom. Self and Listen are needed.
type Config struct {
	// Self is told to all others. Its Name must be one that no process had before; see FreshName.
	Self Member
	// Listen is the address for UDP and TCP, host:port. Port 0 is any free one.
	Listen string
	// Advertise is the address at which others reach this process, as host or host:port. Empty means that of Listen, and
	// a private address of the machine when that is 0.0.0.0.
	Advertise string
	// Join are addresses of other members. Any one is enough; they are asked again for ever.
	Join []string
	// Key encrypts and authenticates all packets. It is KeySize bytes, the same for all members; nil means plain text.
	Key []byte
	// Label keeps clusters apart that can reach each other. It is the same for all members; empty means "layshaft".
	Label string
	// Allowed are the networks from which members may come; nil means all.
	Allowed []netip.Prefix
	// Changed is called by Run with all members, by name, after some came or went. It delays nothing but its next call.
	Changed func([]Member)
	// Log hears of members that come and go; nil means silence.
	Log *slog.Logger
	// Transport replaces the network, in tests.
	Transport memberlist.Transport
}

// Gossip is made by New. Its methods may be called concurrently.
type Gossip struct {
	cfg     Config
	list    *memberlist.Config
	dirty   chan struct{} // capacity 1: members changed
	started chan struct{} // closed when addr is known

	// mu guards the fields below.
	mu      sync.Mutex
	addr    string
	members map[string]Member
	leaving map[string]bool      // members that have said that they go
	lost    map[string]time.Time // gossip addresses of members that went without a word, and when
	refused string               // why joins fail, as it was logged last
	begun   time.Time
}

// New checks cfg. The error names the field that is wrong.
func New(cfg Config) (*Gossip, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Self.Name == "" {
		return nil, errors.New("gossip: Self.Name is empty")
	}
	if len(cfg.Key) != 0 && len(cfg.Key) != KeySize {
		return nil, fmt.Errorf("gossip: Key has %d bytes, it must have %d", len(cfg.Key), KeySize)
	}
	meta, err := cfg.Self.encode()
	if err != nil {
		return nil, err
	}
	g := &Gossip{cfg: cfg, dirty: make(chan struct{}, 1), started: make(chan struct{}), members: map[string]Member{}, leaving: map[string]bool{}, lost: map[string]time.Time{}}
	g.list, err = g.settings(meta)
	return g, err
}

// settings returns what memberlist needs to know. The intervals are those at which a machine that is busy for seconds is
// not taken for dead.
func (g *Gossip) settings(meta []byte) (*memberlist.Config, error) {
	c := memberlist.DefaultLANConfig()
	c.Name = g.cfg.Self.Name
	c.Label = cmp.Or(g.cfg.Label, "layshaft")
	c.SecretKey = g.cfg.Key
	c.ProbeInterval = 3 * time.Second
	c.ProbeTimeout = 2 * time.Second
	c.SuspicionMult = 6
	c.TCPTimeout = 5 * time.Second
	d := &delegate{g: g, meta: meta}
	c.Delegate, c.Events, c.Alive = d, d, d
	c.Logger = logger(g.cfg.Log)
	c.Transport = g.cfg.Transport
	for _, p := range g.cfg.Allowed {
		c.CIDRsAllowed = append(c.CIDRsAllowed, net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())})
	}
	c.AdvertisePort = 0 // that of the listener
	if g.cfg.Transport != nil {
		return c, nil
	}
	at, err := net.ResolveTCPAddr("tcp", g.cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("gossip: Listen %q: %w", g.cfg.Listen, err)
	}
	if at.IP == nil {
		return nil, fmt.Errorf("gossip: Listen %q has no host; write 0.0.0.0 for all addresses of the machine", g.cfg.Listen)
	}
	c.BindAddr, c.BindPort, c.AdvertisePort = at.IP.String(), at.Port, at.Port
	if g.cfg.Advertise == "" {
		return c, nil
	}
	host, port := g.cfg.Advertise, at.Port
	if h, p, err := net.SplitHostPort(g.cfg.Advertise); err == nil {
		host = h
		if port, err = strconv.Atoi(p); err != nil {
			return nil, fmt.Errorf("gossip: Advertise %q: port %q is not a number", g.cfg.Advertise, p)
		}
	}
	ip, err := net.ResolveIPAddr("ip", host)
	if err != nil || ip.IP == nil {
		return nil, fmt.Errorf("gossip: Advertise %q: %w", g.cfg.Advertise, cmp.Or(err, errors.New("no host")))
	}
	c.AdvertiseAddr, c.AdvertisePort = ip.IP.String(), port
	return c, nil
}

// Run gossips until ctx ends, then tells the others that this process goes, for two seconds at most, and returns nil. It
// fails at once when it cannot listen. It is called once. The library lets some goroutines end up to half a minute later.
func (g *Gossip) Run(ctx context.Context) error {
	list, err := memberlist.Create(g.list)
	if err != nil {
		return fmt.Errorf("gossip: listen on %s: %w", g.cfg.Listen, err)
	}
	g.mu.Lock()
	g.addr, g.begun = list.LocalNode().Address(), time.Now()
	g.mu.Unlock()
	close(g.started)

	var joins errgroup.Group
	joins.SetLimit(maxJoins)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-g.dirty:
			if g.cfg.Changed != nil {
				g.cfg.Changed(g.Members())
			}
		case <-timer.C:
			timer.Reset(g.rejoin(ctx, list, &joins))
		}
	}
	g.sayGoodbye(list)
	if err := list.Leave(leaveTimeout); err != nil {
		g.cfg.Log.Debug("gossip: not all were told that this process goes", "err", err)
	}
	err = list.Shutdown()
	_ = joins.Wait() // they log what went wrong
	return err
}

// goodbye is the first byte of the message of a member that goes; its name follows. memberlist tells nobody whether one that is gone has left or has died: what
// it hands to NotifyLeave has the state that the member had in life (v0.7.0). So it says so itself, before it leaves.
const goodbye = 1

// goodbyeTime is how long a goodbye has before the process leaves: of messages that have arrived, memberlist handles the last one first.
const goodbyeTime = 50 * time.Millisecond

func (g *Gossip) sayGoodbye(list *memberlist.Memberlist) {
	msg := append([]byte{goodbye}, g.cfg.Self.Name...)
	alone := true
	for _, n := range list.Members() {
		if n.Name != g.cfg.Self.Name {
			alone = false
			_ = list.SendBestEffort(n, msg) // whoever misses it takes this process for dead
		}
	}
	if !alone {
		time.Sleep(goodbyeTime)
	}
}

// Address returns where the process gossips, host:port, as others see it. It blocks until Run listens or ctx ends.
func (g *Gossip) Address(ctx context.Context) (string, error) {
	select {
	case <-g.started:
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.addr, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// Members returns all members that are thought to live, this one too, by name.
func (g *Gossip) Members() []Member {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.SortedFunc(maps.Values(g.members), func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
}

// FreshName returns a name that no process had before: prefix and 64 random bits.
func FreshName(prefix string) string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails
	return prefix + "-" + hex.EncodeToString(b[:])
}

// ParseKey reads a key in hex or in base64, as openssl rand prints it.
func ParseKey(text string) ([]byte, error) {
	text = strings.TrimSpace(text)
	if key, err := hex.DecodeString(text); err == nil && len(key) == KeySize {
		return key, nil
	}
	if key, err := base64.StdEncoding.DecodeString(text); err == nil && len(key) == KeySize {
		return key, nil
	}
	return nil, fmt.Errorf("gossip key of %d characters is not %d bytes in hex (%d characters) or base64 (%d); make one with: openssl rand -hex %d",
		len(text), KeySize, hex.EncodedLen(KeySize), base64.StdEncoding.EncodedLen(KeySize), KeySize)
}
