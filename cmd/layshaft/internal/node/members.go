package node

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/layshaft/layshaft/coordinator/replica"
	"github.com/layshaft/layshaft/internal/report"
)

// members are the coordinators of a cluster, as one of them sees them. It implements
// jobserver.Members, and it is a prometheus.Collector of the figures of this coordinator.
type members struct {
	r       *replica.Replica
	address string // of this coordinator
	// t is nil while this coordinator does not lead.
	t *replica.Tenure

	// mu guards the field below.
	mu     sync.Mutex
	latest report.Coordinators
}

// surveyEvery is the pause between two surveys for pages and metrics.
const surveyEvery = time.Second

// run surveys the members every surveyEvery, for last, until ctx ends.
func (m *members) run(ctx context.Context) error {
	tick := time.NewTicker(surveyEvery)
	defer tick.Stop()
	for {
		if all, err := m.List(ctx); err == nil && ctx.Err() == nil {
			m.mu.Lock()
			m.latest = all
			m.mu.Unlock()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// last returns the result of the last survey of run.
func (m *members) last() report.Coordinators {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.latest
}

// List implements jobserver.Members.
func (m *members) List(ctx context.Context) (out report.Coordinators, err error) {
	all, last, err := m.r.Survey(ctx)
	if err != nil {
		return out, err
	}
	for i := range all {
		out.Members = append(out.Members, coordinatorOf(&all[i], last))
	}
	if m.t == nil {
		out.Stale = m.stale(all)
		return out, nil
	}
	out.Warning = warningOf(all)
	return out, nil
}

// coordinatorOf converts the state of a member. last is the index of the last entry in the log.
func coordinatorOf(s *replica.Surveyed, last uint64) report.Coordinator {
	c := report.Coordinator{ID: s.ID, Address: s.Address, Leader: s.Leader, Voter: s.Voter, State: report.Current}
	switch {
	case s.Err != nil:
		c.State, c.Reason = report.Unreachable, s.Err.Error()
		return c
	case s.Applied < last:
		c.Behind = int64(last - s.Applied)
	}
	switch {
	case c.Behind > replica.Lag || !s.Voter:
		c.State, c.Reason = report.Lagging, "it is getting what it has missed"
	case s.Aside != "":
		c.Reason = "its files were damaged once and are kept in " + s.Aside + "; remove them when the disk is known to be good"
	}
	return c
}

// voters returns the number of members that count for majorities, and the addresses of members out
// of reach.
func voters(all []replica.Surveyed) (n int, away []string) {
	for _, s := range all {
		if s.Voter {
			n++
			if s.Err != nil {
				away = append(away, s.Address)
			}
		}
	}
	return n, away
}

// warningOf explains in words what an operator should change; empty if nothing.
func warningOf(all []replica.Surveyed) string {
	n, away := voters(all)
	if len(away) > 0 && n-len(away) <= report.Majority(n) {
		return fmt.Sprintf("%s cannot be reached, and the loss of one more coordinator stops the cluster: start it again, or remove it and add another one", strings.Join(away, " and "))
	}
	return report.CountWarning(n)
}

// stale explains in words why nothing is confirmed here.
func (m *members) stale(all []replica.Surveyed) string {
	if aside := m.r.Aside(); len(all) == 0 && aside != "" {
		return fmt.Sprintf("the files of coordinator %s were damaged and are kept in %s; it waits for the other coordinators to get their state. If they are lost for good, see layshaft coordinator recover", m.address, aside)
	}
	if len(all) == 0 {
		return fmt.Sprintf("coordinator %s belongs to no group yet: it waits for the others of -peers, or for layshaft coordinator members add %s", m.address, m.address)
	}
	for _, s := range all {
		if s.Err == nil && s.Follows == m.address { // its servers start
			return fmt.Sprintf("coordinator %s was elected just now and takes over", m.address)
		}
	}
	for _, s := range all { // some may follow a former leader still
		if s.Err == nil && s.Follows != "" && s.Address != m.address {
			return fmt.Sprintf("coordinator %s does not hear from the leader, %s: either it was removed, or the leader cannot reach it", m.address, s.Follows)
		}
	}
	n, away := voters(all)
	needed := report.Majority(n)
	if n-len(away) >= needed {
		return fmt.Sprintf("no coordinator leads at the moment; an election is due. This is the answer of %s and may be old", m.address)
	}
	return fmt.Sprintf("the majority is lost: %d of %d coordinators can be reached, and %d must agree. Nothing is confirmed until %s runs again; this is the answer of %s and may be old",
		n-len(away), n, needed, strings.Join(away, " or "), m.address)
}

// Add implements jobserver.Members.
func (m *members) Add(ctx context.Context, address string) (added report.Coordinator, warning string, err error) {
	member, err := m.t.Add(ctx, address)
	if err != nil {
		return added, "", err
	}
	all, err := m.List(ctx)
	return report.Coordinator{ID: member.ID, Address: member.Address, Voter: member.Voter, State: report.Current}, all.Warning, err
}

// Remove implements jobserver.Members.
func (m *members) Remove(ctx context.Context, id string) (warning string, err error) {
	all, err := m.List(ctx)
	if err != nil {
		return "", err
	}
	known := false
	for _, c := range all.Members {
		known = known || c.ID == id
	}
	if known {
		if _, err := m.t.Remove(ctx, id); err != nil {
			return "", err
		}
	}
	if all, err = m.List(ctx); err != nil || id == m.r.ID() {
		return "", nil // another one leads now
	}
	return all.Warning, nil
}

// Transfer implements jobserver.Members.
func (m *members) Transfer(ctx context.Context, from, to string) error {
	if m.r.ID() != from || from == to {
		return nil // it has happened already
	}
	all, err := m.List(ctx)
	if err != nil {
		return err
	}
	for _, c := range all.Members {
		switch {
		case c.ID != to:
		case c.State == report.Unreachable:
			return fmt.Errorf("transfer to %s: it cannot be reached: %s", c.Address, c.Reason)
		case !c.Voter:
			return fmt.Errorf("transfer to %s: it does not count for majorities yet; it is catching up", c.Address)
		}
	}
	return m.t.Transfer(to)
}

var (
	leaderDesc  = prometheus.NewDesc("layshaft_coordinator_leader", "1 when this coordinator leads, 0 when it forwards to the leader.", nil, nil)
	termDesc    = prometheus.NewDesc("layshaft_coordinator_term", "Number of the election of the leader.", nil, nil)
	appliedDesc = prometheus.NewDesc("layshaft_coordinator_applied_index", "Number of the last log entry that this coordinator has applied.", nil, nil)
)

// Describe implements prometheus.Collector.
func (m *members) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect implements prometheus.Collector.
func (m *members) Collect(ch chan<- prometheus.Metric) {
	leads, at := 0.0, m.r.Position()
	if m.t != nil {
		leads = 1
	}
	ch <- prometheus.MustNewConstMetric(leaderDesc, prometheus.GaugeValue, leads)
	ch <- prometheus.MustNewConstMetric(termDesc, prometheus.GaugeValue, float64(at.Term))
	ch <- prometheus.MustNewConstMetric(appliedDesc, prometheus.GaugeValue, float64(at.Applied))
}
