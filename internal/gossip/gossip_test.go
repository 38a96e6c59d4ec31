package gossip_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/layshaft/layshaft/internal/gossip"
	"github.com/layshaft/layshaft/internal/gossip/gossiptest"
)

// cluster is a few members on one network.
type cluster struct {
	t       *testing.T
	net     *gossiptest.Network
	group   errgroup.Group
	members []*member
}

type member struct {
	*gossip.Gossip
	name      string
	transport *gossiptest.Transport
	stop      context.CancelFunc
	changes   int // calls of Changed; read it after synctest.Wait
}

// start adds a member that knows the first one.
func (c *cluster) start(change func(*gossip.Config)) *member {
	c.t.Helper()
	m := &member{name: gossip.FreshName("worker"), transport: c.net.Listen()}
	cfg := gossip.Config{
		Self:      gossip.Member{Name: m.name, Role: "worker", ID: "id", Address: m.transport.Address(), Slots: 4, Zone: "east", Platform: "linux/amd64", Version: "1"},
		Key:       bytes.Repeat([]byte{1}, gossip.KeySize),
		Transport: m.transport,
		Changed:   func([]gossip.Member) { m.changes++ },
	}
	if len(c.members) > 0 {
		cfg.Join = []string{c.members[0].transport.Address()}
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if m.Gossip, err = gossip.New(cfg); err != nil {
		c.t.Fatal(err)
	}
	var ctx context.Context
	ctx, m.stop = context.WithCancel(context.Background())
	c.group.Go(func() error { return m.Run(ctx) })
	c.members = append(c.members, m)
	return m
}

func (c *cluster) stop() {
	for _, m := range c.members {
		m.stop()
	}
	if err := c.group.Wait(); err != nil {
		c.t.Error(err)
	}
	time.Sleep(time.Minute) // for goroutines that the library leaves behind
}

// want fails unless each of the members sees all of them and nobody else.
func want(t *testing.T, members ...*member) {
	t.Helper()
	for _, m := range members {
		if got := m.Members(); len(got) != len(members) {
			t.Errorf("%s sees %d members, want %d: %v", m.name, len(got), len(members), got)
		}
		for _, other := range members {
			if !sees(m, other) {
				t.Errorf("%s does not see %s", m.name, other.name)
			}
		}
	}
}

func sees(m, other *member) bool {
	for _, got := range m.Members() {
		if got.Name == other.name {
			return true
		}
	}
	return false
}

// bubble runs a test of n members under a fake clock.
func bubble(t *testing.T, n int, net *gossiptest.Network, test func(t *testing.T, c *cluster)) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, net: net}
		defer c.stop()
		for range n {
			c.start(nil)
		}
		time.Sleep(5 * time.Second)
		want(t, c.members...)
		test(t, c)
	})
}

func TestMemberTellsWhatItIs(t *testing.T) {
	bubble(t, 2, new(gossiptest.Network), func(t *testing.T, c *cluster) {
		m := c.members[1]
		for _, got := range c.members[0].Members() {
			if want := (gossip.Member{Name: m.name, Role: "worker", ID: "id", Address: "10.0.0.2:7946", Slots: 4, Zone: "east", Platform: "linux/amd64", Version: "1", Gossip: "10.0.0.2:7946"}); got.Name == m.name && got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		}
		if addr, err := m.Address(t.Context()); err != nil || addr != "10.0.0.2:7946" {
			t.Errorf("Address = %s, %v", addr, err)
		}
		before := m.changes
		m3 := c.start(nil)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if m.changes == before {
			t.Error("Changed was not called for a new member")
		}
		m3.stop()
		time.Sleep(5 * time.Second)
		want(t, c.members[:2]...) // who says that it goes is gone at once
	})
}

// A member that ends has left; one that falls silent is gone.
func TestLeftAndGone(t *testing.T) {
	bubble(t, 3, new(gossiptest.Network), func(t *testing.T, c *cluster) {
		var out syncBuffer
		c.start(func(cfg *gossip.Config) {
			cfg.Log = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		})
		time.Sleep(5 * time.Second)
		ends, silent := c.members[1], c.members[2]
		ends.stop()
		silent.transport.Stop()
		time.Sleep(2 * time.Minute)
		for _, tt := range []struct {
			line string
			want int
		}{
			{`"gossip: member left" member=` + ends.name, 1},
			{`"gossip: member gone" member=` + ends.name, 0},
			{`"gossip: member left" member=` + silent.name, 0},
			{`"gossip: member gone" member=` + silent.name, 1},
		} {
			if n := strings.Count(out.String(), tt.line); n != tt.want {
				t.Errorf("%s was logged %d times, want %d", tt.line, n, tt.want)
			}
		}
	})
}

// syncBuffer is a buffer for several goroutines.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestPartitionHeals(t *testing.T) {
	half := func(a string) bool { return a > "10.0.0.4" }
	cuts := []struct {
		name   string
		length time.Duration
		side   func(addr string) bool
		ways   int
	}{
		{"in halves", time.Minute, half, 2},
		{"in halves", 5 * time.Minute, half, 2},
		{"in halves", time.Hour, half, 2},
		{"one alone", 5 * time.Minute, func(a string) bool { return a > "10.0.0.7" }, 2},
		{"the seed alone", 5 * time.Minute, func(a string) bool { return a < "10.0.0.2" }, 2},
		{"one way", 5 * time.Minute, half, 1},
	}
	for _, cut := range cuts {
		t.Run(fmt.Sprintf("%s for %v", cut.name, cut.length), func(t *testing.T) {
			if testing.Short() && cut.length == time.Hour {
				t.Skip("the race detector fails in bubbles with a million timers")
			}
			bubble(t, 8, new(gossiptest.Network), func(t *testing.T, c *cluster) {
				c.net.Cut(func(from, to string) bool {
					return cut.side(from) && !cut.side(to) || cut.ways == 2 && !cut.side(from) && cut.side(to)
				})
				time.Sleep(cut.length)
				for _, a := range c.members {
					for _, b := range c.members {
						apart := cut.side(a.transport.Address()) != cut.side(b.transport.Address())
						if cut.length == time.Hour && sees(a, b) == apart {
							t.Errorf("during the cut, %s sees %s: %v", a.transport.Address(), b.transport.Address(), apart)
						}
					}
				}
				c.net.Cut(nil)
				time.Sleep(30 * time.Second)
				want(t, c.members...)
			})
		})
	}
}

// A machine so busy, or a network so bad, that every fifth packet is late is not a death.
func TestLossIsNoDeath(t *testing.T) {
	bubble(t, 8, &gossiptest.Network{Loss: 0.2}, func(t *testing.T, c *cluster) {
		synctest.Wait()
		before := c.members[0].changes
		for range 20 {
			time.Sleep(time.Minute)
			if testing.Short() {
				break // the race detector fails in bubbles with a million timers
			}
		}
		synctest.Wait()
		if now := c.members[0].changes; now != before {
			t.Errorf("members changed %d times in a time in which nobody came or went", now-before)
		}
		want(t, c.members...)
	})
}

func TestStoppedMemberIsGone(t *testing.T) {
	bubble(t, 4, new(gossiptest.Network), func(t *testing.T, c *cluster) {
		c.members[3].transport.Stop()
		time.Sleep(time.Minute)
		want(t, c.members[:3]...)
	})
}

func TestStrangersAreRefused(t *testing.T) {
	strangers := map[string]func(*gossip.Config){
		"another key":   func(c *gossip.Config) { c.Key = bytes.Repeat([]byte{2}, gossip.KeySize) },
		"no key":        func(c *gossip.Config) { c.Key = nil },
		"another label": func(c *gossip.Config) { c.Label = "other" },
	}
	for name, change := range strangers {
		t.Run(name, func(t *testing.T) {
			bubble(t, 2, new(gossiptest.Network), func(t *testing.T, c *cluster) {
				stranger := c.start(change)
				time.Sleep(20 * time.Second)
				want(t, c.members[:2]...)
				want(t, stranger)
			})
		})
	}
	t.Run("another network", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := &cluster{t: t, net: new(gossiptest.Network)}
			defer c.stop()
			allowed := func(cfg *gossip.Config) { cfg.Allowed = []netip.Prefix{netip.MustParsePrefix("10.0.0.1/31")} }
			c.start(allowed)
			stranger := c.start(nil)
			time.Sleep(time.Minute)
			if sees(c.members[0], stranger) {
				t.Error("a member from a network that is not allowed was let in")
			}
		})
	})
}

// Without a key, the library takes for a member whatever looks like one.
func TestNoiseMakesNoMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, net: new(gossiptest.Network)}
		defer c.stop()
		for range 2 {
			c.start(func(cfg *gossip.Config) { cfg.Key = nil })
		}
		time.Sleep(5 * time.Second)
		const label = "\xf4\x08layshaft"
		ghost := label + "\x04\x86\xabIncarnation\x01\xa4Node\xa5ghost\xa4Addr\xa4\x0a\x00\x00\x63\xa4Port\x07\xa4Meta\xa5noise\xa3Vsn\xa6\x01\x05\x02\x00\x00\x00"
		random, noise := rand.New(rand.NewPCG(1, 0)), c.net.Listen()
		for range 20_000 {
			packet := []byte(ghost)[:len(label)+random.IntN(len(ghost)-len(label)+1)]
			for range random.IntN(3) {
				packet[random.IntN(len(packet))] = byte(random.IntN(256))
			}
			if _, err := noise.WriteTo(packet, c.members[0].transport.Address()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		want(t, c.members...)
	})
}

func TestOverSockets(t *testing.T) {
	defer func() {
		err := goleak.Find()
		for deadline := time.Now().Add(30 * time.Second); err != nil && time.Now().Before(deadline); { // the library lets some go late
			err = goleak.Find()
		}
		if err != nil {
			t.Error(err)
		}
	}()
	ctx, stop := context.WithCancel(t.Context())
	var group errgroup.Group
	met := make(chan struct{})
	run := func(name string, join []string, changed func([]gossip.Member)) *gossip.Gossip {
		g, err := gossip.New(gossip.Config{Self: gossip.Member{Name: name, Role: "worker", Address: "127.0.0.1:1"},
			Listen: "localhost:0", Join: join, Changed: changed})
		if err != nil {
			t.Fatal(err)
		}
		group.Go(func() error { return g.Run(ctx) })
		return g
	}
	a := run("a", nil, nil)
	addr, err := a.Address(ctx)
	if err != nil {
		t.Fatal(err)
	}
	once := false
	run("b", []string{addr}, func(m []gossip.Member) {
		if len(m) == 2 && !once {
			once = true
			close(met)
		}
	})
	<-met
	stop()
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	g, err := gossip.New(gossip.Config{Self: gossip.Member{Name: "c", Role: "worker", Address: "127.0.0.1:1"}, Listen: "127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Run(ended); err != nil && !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("error does not name the address: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	ok := gossip.Config{Self: gossip.Member{Name: "n", Role: "worker", Address: "a:1"}, Listen: "127.0.0.1:0"}
	tests := []struct {
		want   string
		change func(*gossip.Config)
	}{
		{"Name", func(c *gossip.Config) { c.Self.Name = "" }},
		{"Role", func(c *gossip.Config) { c.Self.Role = "" }},
		{"Slots -1", func(c *gossip.Config) { c.Self.Slots = -1 }},
		{"shorter zone", func(c *gossip.Config) { c.Self.Zone = strings.Repeat("z", 250) }},
		{"31 bytes", func(c *gossip.Config) { c.Key = make([]byte, 31) }},
		{`"127.0.0.1"`, func(c *gossip.Config) { c.Listen = "127.0.0.1" }},
		{"no host", func(c *gossip.Config) { c.Listen = ":7946" }},
		{`"127.0.0.1:x"`, func(c *gossip.Config) { c.Advertise = "127.0.0.1:x" }},
	}
	for _, tt := range tests {
		cfg := ok
		tt.change(&cfg)
		if _, err := gossip.New(cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("want an error with %s, got %v", tt.want, err)
		}
	}
	if _, err := gossip.New(ok); err != nil {
		t.Error(err)
	}
}

func TestParseKey(t *testing.T) {
	key := bytes.Repeat([]byte{0xab}, gossip.KeySize)
	for _, text := range []string{hex.EncodeToString(key), " " + strings.ToUpper(hex.EncodeToString(key)) + "\n", base64.StdEncoding.EncodeToString(key)} {
		if got, err := gossip.ParseKey(text); err != nil || !bytes.Equal(got, key) {
			t.Errorf("ParseKey(%q) = %x, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "secret", hex.EncodeToString(key[:16]), base64.StdEncoding.EncodeToString(key[:31])} {
		if _, err := gossip.ParseKey(text); err == nil {
			t.Errorf("ParseKey(%q) is no error", text)
		}
	}
}
