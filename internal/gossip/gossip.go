// Package gossip lets the processes of a cluster find each other from any one address. It wraps
// HashiCorp's memberlist; no other package imports that library.
//
// The list of members is a hint. A member missing from it may be alive on the other side of a
// network cut. A listed member may have been dead for half a minute. The leases of the coordinator
// decide. A gossip key identifies the cluster, not the process; a process is identified by its
// certificate.
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

// leaveTimeout limits how long Run notifies other members that this process leaves.
const leaveTimeout = 2 * time.Second

// Config configures a Gossip. Self and Listen are required.
type Config struct {
	// Self is announced to all other members. No process may have used its Name before; see
	// FreshName.
	Self Member
	// Listen is the address for UDP and TCP, host:port. Port 0 selects a free port.
	Listen string
	// Advertise is the address at which other members reach this process, as host or host:port.
	// Empty means the address of Listen, or a private address of the machine if Listen is 0.0.0.0.
	Advertise string
	// Join lists addresses of other members. One is enough. They are contacted repeatedly, without
	// end.
	Join []string
	// Key encrypts and authenticates all packets. It has KeySize bytes and is the same for all
	// members. Nil means plain text.
	Key []byte
	// Label separates clusters on the same network. It is the same for all members. Empty means
	// "layshaft".
	Label string
	// Allowed lists the networks from which members may join; nil means all.
	Allowed []netip.Prefix
	// Changed is called by Run with all members, sorted by name, after members joined or left.
	// Calls do not overlap.
	Changed func([]Member)
	// Log receives messages about members that join and leave; nil disables logging.
	Log *slog.Logger
	// Transport replaces the network in tests.
	Transport memberlist.Transport
}

// Gossip announces this process and tracks the other members. It is made by New. Its methods may be
// called concurrently.
type Gossip struct {
	cfg     Config
	list    *memberlist.Config
	dirty   chan struct{} // capacity 1: members changed
	started chan struct{} // closed when addr is known

	// mu guards the fields below.
	mu      sync.Mutex
	addr    string
	members map[string]Member
	leaving map[string]bool // names of members that announced that they leave
	// lost maps gossip addresses of members that disappeared without a goodbye to the time of their
	// loss.
	lost    map[string]time.Time
	refused string // the last logged reason why joins failed
	begun   time.Time
	// wrongPort is when an address of Join was last logged as no gossip port.
	wrongPort time.Time
}

// New checks cfg. The error names the invalid field.
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
	g.list, err = g.memberlistConfig(meta)
	return g, err
}

// memberlistConfig returns the configuration of memberlist. With its intervals, a machine that is
// busy for some seconds is not considered dead.
func (g *Gossip) memberlistConfig(meta []byte) (*memberlist.Config, error) {
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
	c.AdvertisePort = 0 // the port of the listener
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

// Run exchanges gossip until ctx ends. Then it notifies the other members that this process leaves,
// for at most two seconds, and returns nil. It returns an error immediately if it cannot listen. It
// must be called only once. Some goroutines of the library may end up to half a minute later.
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
		g.cfg.Log.Debug("gossip: not all members were notified of the leave", "err", err)
	}
	err = list.Shutdown()
	_ = joins.Wait() // joins log their errors
	return err
}

// goodbye is the first byte of the message from a member that leaves; its name follows. memberlist
// (v0.7.0) does not distinguish leaving from dying: the node passed to NotifyLeave has the state
// from its lifetime. So the member sends this message before it leaves.
const goodbye = 1

// goodbyeTime is the time between a goodbye and the process's leave message. memberlist handles the
// last message received first.
const goodbyeTime = 50 * time.Millisecond

func (g *Gossip) sayGoodbye(list *memberlist.Memberlist) {
	msg := append([]byte{goodbye}, g.cfg.Self.Name...)
	alone := true
	for _, n := range list.Members() {
		if n.Name != g.cfg.Self.Name {
			alone = false
			_ = list.SendBestEffort(n, msg) // a member that misses it considers this process dead
		}
	}
	if !alone {
		time.Sleep(goodbyeTime)
	}
}

// Address returns the gossip address of this process as other members see it, host:port. It blocks
// until Run listens or ctx ends.
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

// Members returns all members considered alive, including this one, sorted by name.
func (g *Gossip) Members() []Member {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.SortedFunc(maps.Values(g.members), func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
}

// FreshName returns a name that no process used before: prefix and 64 random bits.
func FreshName(prefix string) string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return prefix + "-" + hex.EncodeToString(b[:])
}

// ParseKey parses a key in hex or base64, as printed by openssl rand.
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
