//go:build unix

package main

import (
	"fmt"
	"os"
	"time"
)

// measured are the figures of one run of callers.
type measured struct {
	rate, p50, p99 float64
	cpu            float64 // of all coordinators, µs per task
}

// measure runs callers against a group.
func (b *bench) measure(g *group, address string, callers, size int) (m measured, err error) {
	before := 0.0
	for _, c := range g.members {
		before -= c.cpu()
	}
	l, err := startLoad(address, callers, size, 0)
	if err != nil {
		return m, err
	}
	time.Sleep(b.duration)
	calls, elapsed, err := l.stop()
	if err != nil {
		return m, err
	}
	for _, c := range g.members {
		before += c.cpu()
	}
	n := float64(len(calls))
	return measured{n / elapsed.Seconds(), quantile(calls, 0.5), quantile(calls, 0.99), before / n * 1e6}, nil
}

// enqueue compares durable tasks.
func (b *bench) enqueue() error {
	one, err := b.start(b.single, 1)
	if err != nil {
		return err
	}
	defer one.stop()
	three, err := b.start(b.program, 3)
	if err != nil {
		return err
	}
	defer three.stop()
	leader, err := three.leader()
	if err != nil {
		return err
	}
	fmt.Println("| callers, input | | tasks/s | p50, ms | p99, ms | CPU of all coordinators, µs per task | ratio |")
	fmt.Println("|---|---|---:|---:|---:|---:|---:|")
	for _, size := range []int{256, 16 << 10} {
		for _, callers := range []int{1, 64} {
			var figures [2][4][]float64
			var ratios []float64
			for range b.rounds {
				var rates [2]float64
				for i, g := range []*group{one, three} {
					address := one.members[0].address
					if i == 1 {
						address = leader.address
					}
					m, err := b.measure(g, address, callers, size)
					if err != nil {
						return err
					}
					rates[i] = m.rate
					for k, v := range []float64{m.rate, m.p50, m.p99, m.cpu} {
						figures[i][k] = append(figures[i][k], v)
					}
				}
				ratios = append(ratios, rates[1]/rates[0])
			}
			for i, name := range []string{"single", "three"} {
				f := figures[i]
				fmt.Printf("| %d, %d B | %s | %s | %s | %s | %s |", callers, size, name, spread(f[0], "%.0f"), spread(f[1], "%.2f"), spread(f[2], "%.1f"), spread(f[3], "%.0f"))
				if i == 1 {
					fmt.Printf(" %s", spread(ratios, "%.2f"))
				}
				fmt.Println(" |")
			}
		}
	}
	return nil
}

// pauseEvery is the pause of a caller between two calls of the work pause, so that the coordinators
// have some time left.
const pauseEvery = 20 * time.Millisecond

// pause measures what callers notice of a change of the leader.
func (b *bench) pause() error {
	three, err := b.start(b.program, 3)
	if err != nil {
		return err
	}
	defer three.stop()
	l, err := startLoad(three.addresses(), b.callers, 256, pauseEvery)
	if err != nil {
		return err
	}
	type span struct {
		kind       string
		begin, end time.Time
	}
	var spans []span
	note := func(kind string, change func() error) error {
		leader, err := three.leader()
		if err != nil {
			return err
		}
		time.Sleep(b.duration / 2)
		s := span{kind: kind, begin: time.Now()}
		if err := change(); err != nil {
			return err
		}
		for now := leader; now == leader && kind == "transfer"; {
			if now, err = three.leader(); err != nil {
				return err
			}
		}
		s.end = time.Now()
		spans = append(spans, s)
		return nil
	}
	for range b.rounds {
		err := note("transfer", func() error {
			_, err := three.command("transfer")
			return err
		})
		if err != nil {
			return err
		}
	}
	for range b.rounds {
		for _, c := range three.members {
			kind := "restart of a follower"
			leader, err := three.leader()
			if err != nil {
				return err
			}
			if leader == c {
				kind = "restart of the leader"
			}
			if err := note(kind, func() error {
				if err := c.end(); err != nil {
					return err
				}
				if err := c.start(); err != nil {
					return err
				}
				_, err := three.leader()
				return err
			}); err != nil {
				return err
			}
		}
	}
	time.Sleep(b.duration / 2)
	calls, _, err := l.stop()
	if err != nil {
		return err
	}
	fmt.Println("| change | times | longest wait of a caller, ms | p99 of all calls meanwhile, ms |")
	fmt.Println("|---|---:|---:|---:|")
	for _, kind := range []string{"transfer", "restart of the leader", "restart of a follower"} {
		var longest, p99 []float64
		for _, s := range spans {
			if s.kind == kind {
				open := between(calls, s.begin, s.end)
				longest, p99 = append(longest, quantile(open, 1)), append(p99, quantile(open, 0.99))
			}
		}
		fmt.Printf("| %s | %d | %s | %s |\n", kind, len(longest), spread(longest, "%.0f"), spread(p99, "%.0f"))
	}
	fmt.Printf("\n%d calls of %d callers, one each %v, none failed.\n\n", len(calls), b.callers, pauseEvery)
	return nil
}

// fill enqueues tasks of 16 KiB until there are n bytes.
func fill(address string, n int64) error {
	const size = 16 << 10
	l, err := startLoad(address, 64, size, 0)
	if err != nil {
		return err
	}
	for l.done.Load()*size < n {
		time.Sleep(10 * time.Millisecond)
		l.mu.Lock()
		err := l.err
		l.mu.Unlock()
		if err != nil {
			break
		}
	}
	_, _, err = l.stop()
	return err
}

// join replaces a follower by an empty coordinator under load.
func (b *bench) join() error {
	three, err := b.start(b.program, 3)
	if err != nil {
		return err
	}
	defer three.stop()
	leader, err := three.leader()
	if err != nil {
		return err
	}
	if err := fill(leader.address, b.state<<20); err != nil {
		return err
	}
	var took, before, during []float64
	for range b.rounds {
		leader, err := three.leader()
		if err != nil {
			return err
		}
		gone := three.followers(leader)[0]
		if err := gone.end(); err != nil {
			return err
		}
		if _, err := three.command("remove", gone.address); err != nil {
			return err
		}
		if err := os.RemoveAll(gone.dir); err != nil {
			return err
		}
		m, err := b.measure(three, leader.address, b.callers, 256)
		if err != nil {
			return err
		}
		if err := gone.start(); err != nil {
			return err
		}
		l, err := startLoad(leader.address, b.callers, 256, 0)
		if err != nil {
			return err
		}
		time.Sleep(b.duration / 2)
		n, begin := l.done.Load(), time.Now()
		if _, err := three.command("add", gone.address); err != nil {
			return err
		}
		elapsed := time.Since(begin).Seconds()
		rate := float64(l.done.Load()-n) / elapsed
		if _, _, err := l.stop(); err != nil {
			return err
		}
		took, before, during = append(took, elapsed), append(before, m.rate), append(during, rate/m.rate)
	}
	fmt.Println("| state | caught up, s | tasks/s of two before | ratio meanwhile |")
	fmt.Println("|---|---:|---:|---:|")
	fmt.Printf("| %d MiB | %s | %s | %s |\n\n", b.state, spread(took, "%.1f"), spread(before, "%.0f"), spread(during, "%.2f"))
	return nil
}

// followers compares memory and disk after the same tasks.
func (b *bench) followers() error {
	fmt.Println("| tasks | | memory, MiB | disk, MiB |")
	fmt.Println("|---|---|---:|---:|")
	var memory, disk [2][]float64
	for i, n := range []int{1, 3} {
		g, err := b.start(b.program, n)
		if err != nil {
			return err
		}
		defer g.stop()
		leader, err := g.leader()
		if err != nil {
			return err
		}
		if err := fill(leader.address, 128<<20); err != nil {
			return err
		}
		l, err := startLoad(leader.address, 64, 256, 0)
		if err != nil {
			return err
		}
		for l.done.Load() < 100_000 {
			time.Sleep(10 * time.Millisecond)
		}
		if _, _, err := l.stop(); err != nil {
			return err
		}
		if leader, err = g.leader(); err != nil {
			return err
		}
		watched := g.followers(leader)
		if n == 1 {
			watched = g.members
		}
		for _, c := range watched {
			memory[i], disk[i] = append(memory[i], c.memory()/(1<<20)), append(disk[i], c.disk()/(1<<20))
		}
	}
	for i, name := range []string{"single", "followers of three"} {
		fmt.Printf("| 8,192 of 16 KiB, 100,000 of 256 B | %s | %s | %s |\n", name, spread(memory[i], "%.0f"), spread(disk[i], "%.0f"))
	}
	fmt.Println()
	return nil
}
