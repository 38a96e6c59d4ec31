package statsd

import (
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
)

// server receives packets.
type server struct {
	t *testing.T
	*net.UDPConn
}

func listen(t *testing.T) *server {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &server{t, c}
}

// lines returns the lines of packets until one ends with the given line.
func (s *server) lines(last string) (all []string) {
	s.t.Helper()
	b := make([]byte, 1<<16)
	for {
		_ = s.SetReadDeadline(time.Now().Add(20 * time.Second))
		n, err := s.Read(b)
		if err != nil {
			s.t.Fatalf("%v after %q", err, all)
		}
		if n > maxPacket {
			s.t.Errorf("packet of %d bytes", n)
		}
		all = append(all, strings.Split(string(b[:n]), "\n")...)
		if all[len(all)-1] == last {
			return all
		}
	}
}

// finished is an ended job of two stages.
func finished(outcome report.Outcome) report.Job {
	return report.Job{ID: "report-1", Name: "daily report", Outcome: outcome, Stages: []report.Stage{
		{Sum: report.Summary{Counters: map[string]int64{"bad lines": 3, ".records": 9}}}, {Sum: report.Summary{Counters: map[string]int64{"bad lines": 4}}}}}
}

// Gauges are sent as they are, counters by their growth, and the counters of a job once, at its
// end, as they are then.
func TestPush(t *testing.T) {
	s := listen(t)
	gauge := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "layshaft_slots"}, []string{"state"})
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "layshaft_function_tasks_total"}, []string{"function"})
	took := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "layshaft_task_duration_seconds"})
	jobs := map[job.ID]report.Job{"old-1": {ID: "old-1", Name: "old", Outcome: report.JobDone}, "report-1": finished(report.JobRunning)}
	p := newPusher(Config{Address: s.LocalAddr().String(), Prefix: "shop.eu", Metrics: []prometheus.Collector{gauge, counter, took}, Log: slog.New(slog.DiscardHandler),
		Jobs: func() []job.ID { return []job.ID{"old-1", "report-1"} },
		Job:  func(id job.ID) (report.Job, bool) { j, ok := jobs[id]; return j, ok }})
	defer p.close()
	gauge.WithLabelValues("busy").Set(2)
	counter.WithLabelValues("resize").Add(100)
	took.Observe(0.25)
	p.push()
	if got := s.lines("shop.eu.slots.busy:2|g"); len(got) != 1 {
		t.Errorf("the first push sent %q", got)
	}
	gauge.WithLabelValues("busy").Set(-1.5)
	counter.WithLabelValues("resize").Add(7)
	counter.WithLabelValues("größe x").Add(5)
	took.Observe(0.75)
	jobs["report-1"] = finished(report.JobDone)
	p.push()
	want := []string{"shop.eu.function_tasks.gr____e_x:5|c", "shop.eu.function_tasks.resize:7|c", "shop.eu.slots.busy:0|g", "shop.eu.slots.busy:-1.5|g",
		"shop.eu.task_duration.count:1|c", "shop.eu.task_duration.sum_ms:750|c", "shop.eu.job.daily_report.jobs.done:1|c", "shop.eu.job.daily_report.bad_lines:7|c"}
	if got := s.lines(want[len(want)-1]); !slices.Equal(got, want) {
		t.Errorf("the second push sent\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	gauge.WithLabelValues("busy").Set(3)
	p.push()
	if got := s.lines("shop.eu.slots.busy:3|g"); len(got) != 1 {
		t.Errorf("the third push sent %q", got)
	}
}

// Many metrics are divided into packets, and no line is cut.
func TestPackets(t *testing.T) {
	s := listen(t)
	gauge := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "layshaft_budget_size"}, []string{"budget"})
	for i := range 300 {
		gauge.WithLabelValues(fmt.Sprintf("%03d", i) + strings.Repeat("x", i)).Set(float64(i))
	}
	gauge.WithLabelValues(strings.Repeat("long", 1000)).Set(1) // does not fit into any packet
	p := newPusher(Config{Address: s.LocalAddr().String(), Prefix: "l", Metrics: []prometheus.Collector{gauge}, Jobs: func() []job.ID { return nil }, Log: slog.New(slog.DiscardHandler)})
	defer p.close()
	p.push()
	all := s.lines("l.budget_size.299" + strings.Repeat("x", 299) + ":299|g")
	if len(all) != 300 {
		t.Errorf("%d lines, want 300", len(all))
	}
	for i, l := range all {
		if want := fmt.Sprintf("l.budget_size.%03d%s:%d|g", i, strings.Repeat("x", i), i); l != want {
			t.Errorf("line %q, want %q", l, want)
		}
	}
}

// A server that is away is named once, and does not stop the pushes.
func TestAway(t *testing.T) {
	var log strings.Builder
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "layshaft_lost"})
	p := newPusher(Config{Address: "127.0.0.1:nonsense", Prefix: "l", Metrics: []prometheus.Collector{gauge}, Jobs: func() []job.ID { return nil }, Log: slog.New(slog.NewTextHandler(&log, nil))})
	defer p.close()
	for range 3 {
		p.push()
	}
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "cannot be reached; metrics are dropped until it can") || !strings.Contains(got, "127.0.0.1:nonsense") {
		t.Errorf("log %q", got)
	}
	s := listen(t)
	p.cfg.Address = s.LocalAddr().String()
	p.push()
	s.lines("l.lost:0|g")
	if got := log.String(); !strings.Contains(got, "is reached again") {
		t.Errorf("log %q", got)
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct{ address, prefix, err string }{
		{"127.0.0.1:8125", "layshaft", ""}, {"[::1]:8125", "a.b-c.d_e", ""},
		{"host", "layshaft", `"host" is no HOST:PORT`}, {"h:1", "", "words of letters"}, {"h:1", "a..b", "words of letters"}, {"h:1", "a b", "words of letters"},
	} {
		if err := Check(c.address, c.prefix); (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("Check(%q, %q) = %v, want %q", c.address, c.prefix, err, c.err)
		}
	}
}
