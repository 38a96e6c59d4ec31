// Package dashboard shows the state of a cluster: web pages for people, the same as JSON, and
// metrics. People who may change something have buttons for it; others see the command.
//
// A look costs the cluster little. Each page is made at most once a second, from numbers that the
// cores keep anyway. Every listing has a limit and counts the rest. Audits run in small parts.
// Templates escape all text from users (names, errors, counters), and pages may load only their
// own style and script.
package dashboard

import (
	"context"
	"embed"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/layshaft/layshaft/coordinator"
	"github.com/layshaft/layshaft/coordinator/jobserver"
	"github.com/layshaft/layshaft/coordinator/taskserver"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/page"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/runpage"
	"github.com/layshaft/layshaft/internal/tally"
)

// Config has the sources of a dashboard. Syncs, Notice and Log may be nil.
type Config struct {
	Coordinator *coordinator.Coordinator // source of jobs
	Server      *jobserver.Server        // source of workers and job reports
	Tasks       *taskserver.Server       // source of queued tasks, functions and budgets
	// Cluster is the name of the cluster.
	Cluster string
	// Version is the version of this program.
	Version string
	// Syncs returns the durations of journal writes.
	Syncs func() tally.Durations
	// History returns the recorded run of a job, or an error that wraps fs.ErrNotExist. Nil means
	// that no job has one.
	History func(id job.ID) (*report.Run, error)
	// Profile returns the CPU profile of a job, or an error that wraps fs.ErrNotExist. Nil means
	// that no job has one.
	Profile func(id job.ID) ([]byte, error)
	// Outboxes returns the outboxes whose tasks are forwarded. Nil means none.
	Outboxes func() []report.Outbox
	// Coordinators returns the state of the coordinators; empty for a single one. Nil means one.
	Coordinators func() report.Coordinators
	// Backups returns the state of the scheduled backups; the zero value without them. Nil means
	// none.
	Backups func() report.Backups
	// Disk returns a sentence if the coordinator's disk is nearly full, or "". Nil means none.
	Disk func() string
	// Notice returns a sentence for the top of every page, or "". Nil means none.
	Notice func() string
	// Caller returns the context of a request with its caller, for permissions and for the audit
	// log. Nil means the context of the request.
	Caller func(*http.Request) context.Context
	// Hosts are host names of this coordinator, beside the name of the machine. A page that was
	// opened under another name has no buttons, unless the name has no dot.
	Hosts []string
	// ReadOnly means that pages have commands in place of buttons.
	ReadOnly bool
	Log      *slog.Logger // nil means silence
}

// Dashboard serves pages and metrics. Make one with New. It is also a prometheus.Collector.
type Dashboard struct {
	cfg     Config
	pages   map[bool]map[string]*template.Template // with buttons or without, by name
	samples sampler
	audit   *auditor

	// mu guards the fields below. It is held while a page is made.
	mu   sync.Mutex
	made map[pageKey]renderedPage
}

// pageKey identifies a version of a page.
type pageKey struct {
	address string
	acts    bool // with buttons
}

// renderedPage is the last version of a page.
type renderedPage struct {
	at     time.Time
	until  time.Time // from when it is made again
	status int
	body   []byte
}

const (
	// fresh is the limit for the age of a page. A page that takes long to make, such as the page
	// of a job with very many attempts, stays for costly times as long, at most oldest. So one page
	// takes at most a twentieth of a processor, whatever the number of its viewers.
	fresh  = time.Second
	costly = 20
	oldest = 10 * time.Second
	// maxMade is the limit of kept pages.
	maxMade = 64
)

//go:embed html/*.html
var html embed.FS

// New returns a dashboard. An error is one of its own templates.
func New(cfg Config) (*Dashboard, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Outboxes == nil {
		cfg.Outboxes = func() []report.Outbox { return nil }
	}
	if cfg.Backups == nil {
		cfg.Backups = func() report.Backups { return report.Backups{} }
	}
	if cfg.Coordinators == nil {
		cfg.Coordinators = func() report.Coordinators { return report.Coordinators{} }
	}
	if cfg.Caller == nil {
		cfg.Caller = (*http.Request).Context
	}
	d := &Dashboard{cfg: cfg, pages: map[bool]map[string]*template.Template{}, audit: newAuditor(cfg.Coordinator, cfg.Tasks), made: map[pageKey]renderedPage{}}
	for _, acts := range []bool{false, true} {
		d.pages[acts] = map[string]*template.Template{}
		for _, name := range []string{"overview", "jobs", "job", "compare", "workers", "worker", "functions", "function", "task", "schedules", "schedule", "search", "act", "missing"} {
			t, err := page.Parse(html, "html/parts.html", "html/"+name+".html")
			if err != nil {
				return nil, fmt.Errorf("dashboard: %w", err)
			}
			if name == "job" {
				if t, err = runpage.Add(t); err != nil {
					return nil, fmt.Errorf("dashboard: %w", err)
				}
			}
			d.pages[acts][name] = t.Funcs(template.FuncMap{"acts": func() bool { return acts }})
		}
	}
	return d, nil
}

// Run keeps audits and rates up to date until ctx ends. Call it after
// coordinator.Coordinator.Ready.
func (d *Dashboard) Run(ctx context.Context) {
	var both errgroup.Group
	both.Go(func() error { d.audit.run(ctx); return nil })
	both.Go(func() error {
		d.samples.run(ctx, func() sample { return takeSample(d.cfg.Coordinator, d.cfg.Server, d.cfg.Tasks) },
			func() ([]report.Function, map[string]tally.Durations) {
				return d.cfg.Tasks.Overview().Functions, d.cfg.Tasks.FunctionTimes()
			})
		return nil
	})
	_ = both.Wait()
}

// Handler serves pages and JSON.
func (d *Dashboard) Handler() http.Handler {
	mux := http.NewServeMux()
	page.Assets(mux)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Accept")
		if !page.WantsHTML(r) {
			d.json(w)
			return
		}
		d.show(w, r, "/", func() view { return d.overview() })
	})
	mux.HandleFunc("GET /api/status", func(w http.ResponseWriter, _ *http.Request) { d.json(w) })
	mux.HandleFunc("GET /jobs", func(w http.ResponseWriter, r *http.Request) {
		f := newFilter(r, jobStates, jobSorts)
		d.show(w, r, f.key(), func() view { return d.jobs(f) })
	})
	mux.HandleFunc("GET /jobs/{id}", func(w http.ResponseWriter, r *http.Request) {
		id := r.PathValue("id")
		d.show(w, r, "/jobs/"+url.PathEscape(id), func() view { return d.job(id) })
	})
	mux.HandleFunc("GET /jobs/{id}/compare/{other}", func(w http.ResponseWriter, r *http.Request) {
		id, other := r.PathValue("id"), r.PathValue("other")
		d.show(w, r, "/jobs/"+url.PathEscape(id)+"/compare/"+url.PathEscape(other), func() view { return d.compare(id, other) })
	})
	d.jobFiles(mux)
	d.actionPages(mux)
	mux.HandleFunc("GET /workers", func(w http.ResponseWriter, r *http.Request) {
		f := newFilter(r, workerStates, workerSorts)
		d.show(w, r, f.key(), func() view { return d.workers(f) })
	})
	mux.HandleFunc("GET /workers/{name...}", func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("name")
		d.show(w, r, workerURL(name), func() view { return d.worker(name) })
	})
	mux.HandleFunc("GET /search", d.search)
	mux.HandleFunc("GET /tasks", func(w http.ResponseWriter, r *http.Request) {
		if name := plain.Bytes(r.FormValue("function")); name != "" {
			f := newFilter(r, taskStates, nil)
			f.Hidden = []option{{"function", plain.Text(name)}}
			d.show(w, r, f.key(), func() view { return d.function(name, f) })
			return
		}
		f := newFilter(r, functionStates, functionSorts)
		d.show(w, r, f.key(), func() view { return d.functions(f) })
	})
	mux.HandleFunc("GET /tasks/{id}", func(w http.ResponseWriter, r *http.Request) {
		id := r.PathValue("id")
		d.show(w, r, "/tasks/"+url.PathEscape(id), func() view { return d.task(id) })
	})
	mux.HandleFunc("GET /schedules", func(w http.ResponseWriter, r *http.Request) {
		f := newFilter(r, scheduleStates, scheduleSorts)
		d.show(w, r, f.key(), func() view { return d.schedules(f) })
	})
	mux.HandleFunc("GET /schedules/{name...}", func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("name")
		d.show(w, r, scheduleURL(name), func() view { return d.schedule(name) })
	})
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		d.show(w, r, "/404", func() view { return missing("There is no such page.") })
	})
	return page.Guard(mux)
}

// number returns the requested page of a listing, from 1.
func number(r *http.Request) int {
	n, _ := strconv.Atoi(r.FormValue("page"))
	return min(max(n, 1), 1_000_000)
}

func (d *Dashboard) json(w http.ResponseWriter) { writeJSON(w, d.status()) }

// view is the content of a page.
type view struct {
	page, title, section string
	status               int // zero means 200
	content              any
	scripts              []string // of this page
	query                string   // in the field of the search
}

func missing(what string) view {
	return view{page: "missing", title: "Not found", status: http.StatusNotFound, content: what}
}

// show sends a page. It makes the page again when the last version is too old.
func (d *Dashboard) show(w http.ResponseWriter, r *http.Request, address string, look func() view) {
	m, err := d.make(pageKey{address, d.mayAct(r)}, look)
	d.send(w, address, m, err)
}

// answer sends a page that nobody else gets.
func (d *Dashboard) answer(w http.ResponseWriter, r *http.Request, v view) {
	m, err := d.render(v, d.mayAct(r), time.Now())
	d.send(w, r.URL.Path, m, err)
}

func (d *Dashboard) send(w http.ResponseWriter, address string, m renderedPage, err error) {
	if err != nil {
		d.cfg.Log.Error("page not made", "page", address, "err", err)
		http.Error(w, "the page could not be made; the log says why", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(m.status)
	_, _ = w.Write(m.body)
}

func (d *Dashboard) make(key pageKey, look func() view) (renderedPage, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if m, ok := d.made[key]; ok && now.Before(m.until) {
		return m, nil
	}
	m, err := d.render(look(), key.acts, now)
	if err != nil {
		return renderedPage{}, err
	}
	m.until = now.Add(freshFor(time.Since(now)))
	for k, old := range d.made {
		if !now.Before(old.until) || len(d.made) >= maxMade {
			delete(d.made, k)
		}
	}
	d.made[key] = m
	return m, nil
}

// freshFor returns how long a page stays that took so long to make.
func freshFor(took time.Duration) time.Duration { return max(fresh, min(costly*took, oldest)) }

// render makes a page, with buttons if acts is true.
func (d *Dashboard) render(v view, acts bool, now time.Time) (renderedPage, error) {
	f := page.Frame{Title: v.title, Name: "cluster " + d.cfg.Cluster, Version: d.cfg.Version, At: now, Content: v.content, Scripts: v.scripts, Search: "/search", Query: v.query}
	if acts {
		f.Scripts = append([]string{"act.js"}, f.Scripts...)
	}
	if d.cfg.Notice != nil {
		f.Notice = d.cfg.Notice()
	}
	for _, l := range []page.Link{{Text: "Overview", URL: "/"}, {Text: "Jobs", URL: "/jobs"}, {Text: "Workers", URL: "/workers"}, {Text: "Tasks", URL: "/tasks"}, {Text: "Schedules", URL: "/schedules"}} {
		l.Here = l.Text == v.section
		f.Nav = append(f.Nav, l)
	}
	body, err := page.Render(d.pages[acts][v.page], &f)
	if err != nil {
		return renderedPage{}, err
	}
	m := renderedPage{at: now, status: v.status, body: body}
	if m.status == 0 {
		m.status = http.StatusOK
	}
	return m, nil
}
