package node

import (
	"embed"
	"html/template"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/layshaft/layshaft/internal/gossip"
	webpage "github.com/layshaft/layshaft/internal/page"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/worker"
)

//go:embed worker.html
var html embed.FS

// workerPage shows the state of a worker. It is also a prometheus.Collector.
type workerPage struct {
	version string
	status  func() worker.Status
	members func() []gossip.Member
	notice  func() string // for the top of the page
	page    *template.Template
}

func newWorkerPage(version string, status func() worker.Status, members func() []gossip.Member, notice func() string) (*workerPage, error) {
	t, err := webpage.Parse(html, "worker.html")
	return &workerPage{version, status, members, notice, t}, err
}

// maxAttempts is the number of attempts on the page.
const maxAttempts = 100

// countBusy counts the attempts with a slot.
func countBusy(s *worker.Status) (n int) {
	for i := range s.Attempts {
		if !s.Attempts[i].Since.IsZero() {
			n++
		}
	}
	return n
}

type workerView struct {
	worker.Status
	Busy    int
	More    int // number of attempts not shown
	Members []gossip.Member
}

// For returns how long an attempt has run.
func (*workerView) For(t time.Time) time.Duration { return time.Since(t) }

func (p *workerPage) handler() http.Handler {
	mux := http.NewServeMux()
	webpage.Assets(mux)
	inJSON := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		_ = plain.WriteJSON(w, map[string]any{"worker": p.status().Name, "version": p.version, "members": p.members()}) // the reader has gone
	}
	mux.HandleFunc("GET /api/status", func(w http.ResponseWriter, _ *http.Request) { inJSON(w) })
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Accept")
		if !webpage.WantsHTML(r) {
			inJSON(w)
			return
		}
		v := workerView{Status: p.status(), Members: p.members()}
		v.Busy, v.More = countBusy(&v.Status), max(len(v.Attempts)-maxAttempts, 0)
		v.Attempts = v.Attempts[:len(v.Attempts)-v.More]
		v.Members = v.Members[:min(len(v.Members), maxAttempts)]
		b, err := webpage.Render(p.page, &webpage.Frame{Title: "Worker " + v.Name, Name: "worker", Version: p.version, At: time.Now(), Notice: p.notice(), Content: &v})
		if err != nil {
			http.Error(w, "the page could not be made: "+err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(b)
	})
	return mux
}

var (
	slotsDesc    = prometheus.NewDesc("layshaft_worker_slots", "Slots of this worker.", []string{"state"}, nil)
	attemptsDesc = prometheus.NewDesc("layshaft_worker_attempts", "Attempts that this worker has not reported yet.", []string{"state"}, nil)
	shuffleDesc  = prometheus.NewDesc("layshaft_shuffle_bytes_total", "Bytes of outputs: sent to others, and received from other workers.", []string{"direction"}, nil)
	storedDesc   = prometheus.NewDesc("layshaft_stored_bytes", "Bytes that outputs take on this worker's disk.", nil, nil)
	quotaDesc    = prometheus.NewDesc("layshaft_quota_bytes", "Bytes that outputs may take; 0 means no limit but the disk.", nil, nil)
	freeDesc     = prometheus.NewDesc("layshaft_free_bytes", "Bytes that outputs may still take.", nil, nil)
	spilledDesc  = prometheus.NewDesc("layshaft_spilled_bytes_total", "Bytes that attempts of this worker wrote to disk because their memory was full.", nil, nil)
	budgetDesc   = prometheus.NewDesc("layshaft_memory_budget_bytes", "Bytes that the attempts of all slots of this worker may hold before they spill.", nil, nil)
	limitDesc    = prometheus.NewDesc("layshaft_memory_limit_bytes", "Memory of the machine of this worker, or of its cgroup if that is less.", nil, nil)
	childrenDesc = prometheus.NewDesc("layshaft_children", "Processes of user code at this worker.", nil, nil)
	childMemDesc = prometheus.NewDesc("layshaft_child_memory_bytes", "Resident memory of the processes of user code at this worker. The worker itself is process_resident_memory_bytes.", nil, nil)
	drainingDesc = prometheus.NewDesc("layshaft_worker_draining", "1 when this worker takes no new attempts because it is to leave.", nil, nil)
)

// Describe implements prometheus.Collector.
func (p *workerPage) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(p, ch) }

// Collect implements prometheus.Collector.
func (p *workerPage) Collect(ch chan<- prometheus.Metric) {
	set := func(d *prometheus.Desc, kind prometheus.ValueType, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, float64(v), labels...)
	}
	s := p.status()
	running := int64(countBusy(&s))
	set(slotsDesc, prometheus.GaugeValue, running, "busy")
	set(slotsDesc, prometheus.GaugeValue, max(int64(s.Slots)-running, 0), "free")
	set(attemptsDesc, prometheus.GaugeValue, running, "running")
	set(attemptsDesc, prometheus.GaugeValue, int64(len(s.Attempts))-running, "waiting")
	set(shuffleDesc, prometheus.CounterValue, s.Sent, "sent")
	set(shuffleDesc, prometheus.CounterValue, s.Got, "received")
	set(storedDesc, prometheus.GaugeValue, s.Used)
	set(quotaDesc, prometheus.GaugeValue, s.Quota)
	set(freeDesc, prometheus.GaugeValue, s.Free)
	set(spilledDesc, prometheus.CounterValue, s.Spilled)
	set(budgetDesc, prometheus.GaugeValue, s.Memory)
	set(limitDesc, prometheus.GaugeValue, s.Limit)
	set(childrenDesc, prometheus.GaugeValue, int64(s.Children))
	set(childMemDesc, prometheus.GaugeValue, s.ChildMemory)
	draining := int64(0)
	if s.Draining {
		draining = 1
	}
	set(drainingDesc, prometheus.GaugeValue, draining)
}
