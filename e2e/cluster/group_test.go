//go:build unix

package cluster

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/internal/porttest"
)

// group are the three coordinators of a cluster.
type group struct {
	grpc, http, gossip []string
	processes          []*process
	leading            int // index of the leader
	term               int // of its tenure
}

// startGroup starts three coordinators. m.coord and m.http belong to the leader.
func (m *members) startGroup() {
	m.t.Helper()
	g := &group{}
	m.group = g
	for range 3 {
		g.grpc, g.http, g.gossip = append(g.grpc, porttest.Free(m.t)), append(g.http, porttest.Free(m.t)), append(g.gossip, porttest.Free(m.t))
	}
	m.grpc, m.gossip = strings.Join(g.grpc, ","), strings.Join(g.gossip, ",")
	g.processes = make([]*process, 3)
	for i := range g.processes {
		m.startCoordinatorOf(i)
	}
	m.awaitLeader()
}

// startCoordinatorOf starts coordinator i of the group, again after its end.
func (m *members) startCoordinatorOf(i int) {
	m.t.Helper()
	g := m.group
	g.processes[i] = launch(m.t, fmt.Sprint("coordinator ", i), "layshaft", append(m.coordinatorFlags(fmt.Sprint("coordinator-", i)),
		"-listen", g.grpc[i], "-http", g.http[i], "-gossip", g.gossip[i], "-join", m.gossip, "-peers", m.grpc)...)
}

var leads = regexp.MustCompile(`"this coordinator leads","term":(\d+)`)

// awaitLeader waits for a leader of a new tenure.
func (m *members) awaitLeader() {
	m.t.Helper()
	g := m.group
	until(m.t, "a coordinator leads", func() bool {
		for i, p := range g.processes {
			if !p.IsAlive() {
				continue
			}
			lines, _ := p.Err.Lines(0)
			for _, l := range lines {
				if found := leads.FindStringSubmatch(l); found != nil {
					if term, _ := strconv.Atoi(found[1]); term > g.term {
						g.term, g.leading = term, i
						m.coord, m.http = p, g.http[i]
						return true
					}
				}
			}
		}
		return false
	})
}

// killLeader kills the leader and waits for the next one. It returns the index of the killed one.
func (m *members) killLeader() int {
	m.t.Helper()
	killed := m.group.leading
	m.coord.Kill()
	m.awaitLeader()
	return killed
}

// TestKillLeader kills the leading one of three coordinators at several moments of a job: the job
// continues under another one, what is committed is not run again, and neither is what was running.
func TestKillLeader(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"map-0", "mapped-5", "reduce-11"} {
		t.Run(at, func(t *testing.T) {
			m := startMembers(t, config{workers: 2, slots: 2, several: true})
			r := m.prepare().do(at, "hold").start()
			r.at(at, 1)
			m.killLeader()
			m.awaitWorkers(2)
			r.release(at)
			r.succeeds()
			r.onceEach("map", "reduce")
		})
	}
}

// TestKillLeaderAgainAndAgain kills the leader and starts it again until the job is done.
func TestKillLeaderAgainAndAgain(t *testing.T) {
	t.Parallel()
	m := startMembers(t, config{workers: 2, several: true})
	r := m.prepare("-maps", "12").start()
	kills := 0
	for _, p := range []string{"map-0", "mapped-4", "mapped-11", "reduce-3", "reduce-8"} {
		until(t, p+" was reached", func() bool { return len(r.ran(p)) > 0 || !r.IsAlive() })
		if !r.IsAlive() {
			break
		}
		m.startCoordinatorOf(m.killLeader())
		kills++
	}
	r.succeeds()
	r.onceEach("map", "reduce")
	t.Logf("%d kills", kills)
}
