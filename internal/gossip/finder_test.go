package gossip_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/internal/gossip"
)

func TestFinder(t *testing.T) {
	f := gossip.NewFinder("coordinator")
	found := make(chan string)
	go func() {
		addr, _ := f.Address(context.Background())
		found <- addr
	}()
	hear := func(addrs ...string) {
		members := []gossip.Member{{Role: "worker", Address: "w:1"}}
		for _, a := range addrs {
			members = append(members, gossip.Member{Role: "coordinator", Address: a})
		}
		f.Update(members)
	}
	hear()
	hear("a:1")
	if got := <-found; got != "a:1" {
		t.Errorf("found %s, want a:1", got)
	}
	ask := func() string {
		addr, err := f.Address(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return addr
	}
	hear("a:1", "b:1", "b:1") // b is newer, and known under two names
	if got := ask() + ask() + ask(); got != "b:1a:1b:1" {
		t.Errorf("asked %s, want the newest and the others in turn", got)
	}
	hear("a:1", "b:1")
	if got := ask(); got != "a:1" {
		t.Errorf("asked %s: the same members began the turn anew", got)
	}
	hear() // cut off: the last ones stay
	hear("c:1")
	if got := ask() + ask(); got != "c:1c:1" {
		t.Errorf("asked %s, want c:1 alone", got)
	}
	hear("c:1", "d:1")
	if all, err := f.Addresses(t.Context(), nil); err != nil || !slices.Equal(all, []string{"d:1", "c:1"}) {
		t.Errorf("found %q, %v, want the newest first", all, err)
	}
	go func() {
		all, _ := f.Addresses(context.Background(), []string{"d:1", "c:1"})
		found <- strings.Join(all, " ")
	}()
	hear("d:1")
	if got := <-found; got != "d:1" {
		t.Errorf("changed to %q, want d:1 alone", got)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := gossip.NewFinder("coordinator").Address(ended); err == nil {
		t.Error("no error when nobody is known and ctx has ended")
	}
	if _, err := gossip.NewFinder("coordinator").Addresses(ended, nil); err == nil {
		t.Error("addresses although nobody is known")
	}
}
