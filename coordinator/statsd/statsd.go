// Package statsd sends metrics to a statsd server, as UDP packets of lines NAME:VALUE|TYPE; see
// "Metric Types" in the documentation of statsd (statsd/docs/metric_types.md).
//
// Gauges are sent as they are (g), and counters as what they grew (c). A name is the one of
// Prometheus without layshaft_ and _total, with the values of its labels:
// layshaft_function_tasks_total{function="resize",outcome="done"} is
// layshaft.function_tasks.resize.done. A histogram has a count and a sum in milliseconds, both of
// type c: layshaft.task_duration.count and layshaft.task_duration.sum_ms. The counters of a job are
// sent once, when the job has ended, as layshaft.job.PLAN.COUNTER.
//
// UDP loses packets without a word. A server that is away costs a failed write for each packet.
package statsd

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
)

// maxPacket is the payload of an Ethernet frame without fragments, less room for tunnels.
const maxPacket = 1432

// Config configures Push.
type Config struct {
	// Address is the HOST:PORT of the server.
	Address string
	// Every is the interval between two pushes; at least a second.
	Every time.Duration
	// Prefix begins all names, without a dot at its end.
	Prefix string
	// Metrics are the metrics to send.
	Metrics []prometheus.Collector
	// Jobs returns the IDs of all known jobs, and Job the state of one.
	Jobs func() []job.ID
	Job  func(job.ID) (report.Job, bool)
	// Log gets a line when the server cannot be reached, and when it can again.
	Log *slog.Logger
}

// Push sends metrics until ctx ends, and then once more. Counters begin with the second push: what
// was counted before is not sent again after a restart.
func Push(ctx context.Context, cfg Config) {
	p := newPusher(cfg)
	tick := time.NewTicker(cfg.Every)
	defer tick.Stop()
	defer p.close()
	for {
		p.push()
		select {
		case <-tick.C:
		case <-ctx.Done():
			p.push()
			return
		}
	}
}

// pusher has the state between two pushes.
type pusher struct {
	cfg      Config
	registry *prometheus.Registry
	// counts are the counters of the last push by name. Before the first one, began is false.
	counts map[string]float64
	began  bool
	// ended are the jobs whose counters were sent, or belong to former processes.
	ended map[job.ID]bool

	conn   net.Conn
	packet bytes.Buffer
	failed bool // the last write failed
}

func newPusher(cfg Config) *pusher {
	p := &pusher{cfg: cfg, counts: map[string]float64{}, ended: map[job.ID]bool{}, registry: prometheus.NewRegistry()}
	p.registry.MustRegister(cfg.Metrics...)
	for _, id := range cfg.Jobs() {
		if j, ok := cfg.Job(id); ok && j.Outcome.IsEnd() {
			p.ended[id] = true
		}
	}
	return p
}

func (p *pusher) close() {
	if p.conn != nil {
		_ = p.conn.Close()
	}
}

// push sends everything once.
func (p *pusher) push() {
	families, err := p.registry.Gather()
	if err != nil {
		p.cfg.Log.Warn("statsd: some metrics cannot be read", "err", err)
	}
	for _, f := range families {
		name := strings.TrimSuffix(strings.TrimPrefix(f.GetName(), "layshaft_"), "_total")
		for _, m := range f.Metric {
			labels := ""
			for _, l := range m.Label {
				labels += "." + word(l.GetValue())
			}
			at := name + labels
			switch f.GetType() {
			case dto.MetricType_GAUGE:
				p.gauge(at, m.Gauge.GetValue())
			case dto.MetricType_COUNTER:
				p.counter(at, m.Counter.GetValue())
			case dto.MetricType_HISTOGRAM:
				p.counter(strings.TrimSuffix(name, "_seconds")+".count"+labels, float64(m.Histogram.GetSampleCount()))
				p.counter(strings.TrimSuffix(name, "_seconds")+".sum_ms"+labels, math.Round(m.Histogram.GetSampleSum()*1000))
			}
		}
	}
	p.jobs()
	p.flush()
	p.began = true
}

// jobs sends the counters of jobs that have ended since the last push.
func (p *pusher) jobs() {
	known := p.cfg.Jobs()
	before := p.ended
	p.ended = make(map[job.ID]bool, len(known)) // without forgotten tasks
	for _, id := range known {
		if before[id] {
			p.ended[id] = true
			continue
		}
		j, ok := p.cfg.Job(id)
		if !ok || !j.Outcome.IsEnd() {
			continue
		}
		p.ended[id] = true
		name := "job." + word(j.Name) + "."
		p.line(name+"jobs."+j.Outcome.String(), 1, "c")
		v := report.ViewJob(&j)
		sums := map[string]int64{}
		for _, s := range v.Stages {
			for counter, n := range s.Counters {
				sums[counter] += n
			}
		}
		for counter, n := range sums {
			p.line(name+word(counter), float64(n), "c")
		}
	}
}

func (p *pusher) gauge(name string, v float64) {
	if v < 0 {
		p.line(name, 0, "g") // a sign would change the value instead of setting it
	}
	p.line(name, v, "g")
}

// counter sends what a counter grew since the last push.
func (p *pusher) counter(name string, v float64) {
	was := p.counts[name]
	p.counts[name] = v
	if p.began && v > was {
		p.line(name, v-was, "c")
	}
}

// line adds a line to the packet, and sends the packet before if both do not fit.
func (p *pusher) line(name string, v float64, kind string) {
	line := p.cfg.Prefix + "." + name + ":" + strconv.FormatFloat(v, 'f', -1, 64) + "|" + kind
	if len(line) > maxPacket {
		return // no server takes it
	}
	if p.packet.Len() > 0 {
		if p.packet.Len()+1+len(line) > maxPacket {
			p.flush()
		} else {
			p.packet.WriteByte('\n')
		}
	}
	p.packet.WriteString(line)
}

// dialWait limits the look-up of the server's name.
const dialWait = 2 * time.Second

// flush sends the packet.
func (p *pusher) flush() {
	defer p.packet.Reset()
	if p.packet.Len() == 0 {
		return
	}
	err := p.send()
	switch failed := err != nil; {
	case failed && !p.failed:
		p.cfg.Log.Warn("statsd: the server cannot be reached; metrics are dropped until it can", "address", p.cfg.Address, "err", err)
		p.failed = true
	case !failed && p.failed:
		p.cfg.Log.Info("statsd: the server is reached again", "address", p.cfg.Address)
		p.failed = false
	}
}

func (p *pusher) send() error {
	if p.conn == nil {
		c, err := net.DialTimeout("udp", p.cfg.Address, dialWait)
		if err != nil {
			return err
		}
		p.conn = c
	}
	if _, err := p.conn.Write(p.packet.Bytes()); err != nil {
		_ = p.conn.Close()
		p.conn = nil // the name may have another address by now
		return err
	}
	return nil
}

// word returns s as one part of a name: letters, digits, - and _. Other bytes become _.
func word(s string) string {
	if s == "" {
		return "other"
	}
	b := []byte(s)
	for i, c := range b {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			b[i] = '_'
		}
	}
	return string(b)
}

// Check returns an error unless address and prefix can be used.
func Check(address, prefix string) error {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return fmt.Errorf("-statsd: %q is no HOST:PORT, such as 127.0.0.1:8125", address)
	}
	for part := range strings.SplitSeq(prefix, ".") {
		if part == "" || part != word(part) {
			return fmt.Errorf("-statsd-prefix: %q must be words of letters, digits, - and _, with a dot between two", prefix)
		}
	}
	return nil
}
