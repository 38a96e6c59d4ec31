package layshafttest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/internal/client"
	"github.com/layshaft/layshaft/internal/gossip"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/security"
)

// moveTo kills the coordinator and starts it at another address, with its data.
func (x *Coordinator) moveTo(address string) {
	x.Kill()
	x.mu.Lock()
	x.at = address
	x.mu.Unlock()
	x.Restart()
}

// announce makes the workers know other addresses at which the coordinator may be, by gossip.
func (c *Cluster) announce(t *testing.T, addresses ...string) {
	ctx, end := context.WithCancel(context.WithoutCancel(t.Context()))
	var members sync.WaitGroup
	for _, a := range addresses {
		g, err := gossip.New(gossip.Config{Self: gossip.Member{Name: gossip.FreshName("coordinator"), Role: string(security.Coordinator), Address: a},
			Join: c.gossipAddresses(), Transport: c.gossip.Listen()})
		if err != nil {
			t.Fatal(err)
		}
		members.Go(func() { _ = g.Run(ctx) })
	}
	t.Cleanup(func() {
		end()
		members.Wait()
	})
	time.Sleep(time.Second) // until all workers have heard of them
}

// A job runs on while its coordinator moves to other addresses of the list: its client, a command
// that waits for it and the workers follow, and no committed task runs again.
func TestCoordinatorMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &history{t: t}
		c := Start(t, 3, h.option())
		second, third := strings.Replace(c.address, ":7070", ":7071", 1), strings.Replace(c.address, ":7070", ":7072", 1)
		c.announce(t, second, third)
		target := c.Target()
		target.Address = strings.Join([]string{third, c.address, second}, ",")
		id, wait := beginAt(t, target, groups, slow)
		command, err := client.Dial(client.Config{Address: target.Address, Dial: c.dial})
		if err != nil {
			t.Fatal(err)
		}
		defer command.Close()
		waited := make(chan error, 1)
		go func() { waited <- command.Wait(context.WithoutCancel(t.Context()), job.ID(id)) }()
		for _, address := range []string{second, third, c.address, third} {
			time.Sleep(2 * time.Second)
			c.Coordinator().moveTo(address)
			moved := time.Now()
			c.WaitFor("all workers", func() bool { return len(c.Coordinator().Workers()) == 3 })
			if d := time.Since(moved); d > 2*time.Second {
				t.Errorf("the workers came to %s after %v", address, d)
			}
		}
		slow.check(t, wait())
		if err := <-waited; err != nil {
			t.Errorf("Wait: %v", err)
		}
		if h.again > 0 {
			t.Errorf("%d committed tasks ran again", h.again)
		}
		if n := len(slices.DeleteFunc(c.Attempts(""), func(a Attempt) bool { return a.Err == nil })); n > 0 {
			t.Errorf("%d attempts failed", n)
		}
	})
}
