package prometheus

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
)

const boardPath = "../../deploy/grafana/layshaft.json"

// expression is PromQL from the alerts or the board.
type expression struct{ where, text, legend string }

type panel struct {
	ID         int
	Type       string
	Title      string
	Datasource struct{ Type, UID string }
	GridPos    struct{ X, Y, W, H int }
	Targets    []struct {
		RefID, Expr, LegendFormat string
		Datasource                struct{ Type, UID string }
	}
}

// board returns the expressions of the board, and checks its panels.
func board(t *testing.T) (out []expression) {
	t.Helper()
	b, err := os.ReadFile(boardPath)
	if err != nil {
		t.Fatal(err)
	}
	var x struct {
		Title, UID    string
		SchemaVersion int
		Panels        []panel
		Templating    struct {
			List []struct{ Name, Type, Query string }
		}
	}
	if err := json.Unmarshal(b, &x); err != nil {
		t.Fatal(err)
	}
	variables := map[string]bool{"__rate_interval": true}
	for _, v := range x.Templating.List {
		variables[v.Name] = true
	}
	if x.Title == "" || x.UID == "" || x.SchemaVersion < 36 || len(x.Panels) < 10 {
		t.Errorf("board %q, uid %q, schema %d, %d panels", x.Title, x.UID, x.SchemaVersion, len(x.Panels))
	}
	taken, ids := map[[2]int]string{}, map[int]bool{}
	for _, p := range x.Panels {
		if ids[p.ID] || p.ID == 0 {
			t.Errorf("panel %q: ID %d is zero or not unique", p.Title, p.ID)
		}
		ids[p.ID] = true
		g := p.GridPos
		if p.Title == "" || g.W < 1 || g.H < 1 || g.X < 0 || g.X+g.W > 24 {
			t.Errorf("panel %q lies at %+v", p.Title, g)
		}
		for c := g.X; c < g.X+g.W; c++ {
			for r := g.Y; r < g.Y+g.H; r++ {
				if other := taken[[2]int{c, r}]; other != "" {
					t.Fatalf("panels %q and %q overlap", other, p.Title)
				}
				taken[[2]int{c, r}] = p.Title
			}
		}
		if (p.Type == "row") != (len(p.Targets) == 0) {
			t.Errorf("panel %q of type %s has %d queries", p.Title, p.Type, len(p.Targets))
		}
		refs := map[string]bool{}
		for _, q := range p.Targets {
			if q.RefID == "" || refs[q.RefID] || p.Datasource.UID != "${datasource}" || p.Datasource.Type != "prometheus" {
				t.Errorf("panel %q: query %q, datasource %+v", p.Title, q.RefID, p.Datasource)
			}
			refs[q.RefID] = true
			for _, m := range regexp.MustCompile(`\$\{?(\w+)`).FindAllStringSubmatch(q.Expr, -1) {
				if !variables[m[1]] {
					t.Errorf("panel %q uses $%s, which the board does not have", p.Title, m[1])
				}
			}
			text := strings.NewReplacer("$__rate_interval", "5m", `=~"$job"`, `=~".+"`).Replace(q.Expr)
			out = append(out, expression{"board: " + p.Title, text, q.LegendFormat})
		}
	}
	return out
}

// alerts returns the expressions of the alerts.
func alerts(t *testing.T) (out []expression) {
	t.Helper()
	b, err := os.ReadFile(alertsPath)
	if err != nil {
		t.Fatal(err)
	}
	groups, errs := loadRules(t, b)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			out = append(out, expression{"alert: " + r.Alert, r.Expr, ""})
		}
	}
	return out
}

// adapter returns the queries with which the example of prometheus-adapter scales workers.
func adapter(t *testing.T) (out []expression) {
	t.Helper()
	b, err := os.ReadFile("../../deploy/kubernetes/burst/adapter.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?:metricsQuery|seriesQuery): (.+)`).FindAllStringSubmatch(string(b), -1) {
		out = append(out, expression{"adapter", m[1], ""})
	}
	if len(out) < 4 {
		t.Fatalf("the adapter has %d queries", len(out))
	}
	return out
}

// seldom are metrics that a single coordinator without certificates, backups, databases and
// schedules does not serve. Their names and labels are compared with docs/reference.md instead.
var seldom = regexp.MustCompile(`^layshaft_(coordinator_|certificate_|backup_|outbox_|replication_|budget_|schedule)`)

// histogram removes what Prometheus adds to the name of a histogram.
var histogram = regexp.MustCompile(`_(bucket|sum|count)$`)

// TestNames compares the metrics, labels and values of labels in the alerts and on the board with a
// scrape of real processes and with the reference.
func TestNames(t *testing.T) {
	known, scraped := reference(t), scrape(t)
	for name := range scraped {
		base := histogram.ReplaceAllString(name, "")
		if strings.HasPrefix(name, "layshaft_") && known[name] == nil && known[base] == nil {
			t.Errorf("%s is served, but docs/reference.md does not have it", name)
		}
	}
	load := "load 1m\n"
	for name, series := range scraped {
		for _, s := range series {
			load += fmt.Sprintf("  %s%s %v+0x10\n", name, s.labels, s.value)
		}
	}
	storage := promqltest.LoadedStorage(t, load)
	defer storage.Close()
	engine := promqltest.NewTestEngine(t, false, 5*time.Minute, 1_000_000)
	used := map[string]bool{}
	for _, x := range slices.Concat(alerts(t), board(t), adapter(t)) {
		tree, err := parse().ParseExpr(x.text)
		if err != nil {
			t.Errorf("%s: %v", x.where, err)
			continue
		}
		allServed := true
		for _, selectors := range parser.ExtractSelectors(tree) {
			i := slices.IndexFunc(selectors, func(m *labels.Matcher) bool { return m.Name == labels.MetricName })
			name := selectors[i].Value
			used[histogram.ReplaceAllString(name, "")] = true
			base := histogram.ReplaceAllString(name, "")
			wanted, inReference := known[name]
			if !inReference {
				wanted, inReference = known[base]
			}
			if strings.HasPrefix(name, "layshaft_") && !inReference {
				t.Errorf("%s: there is no metric %s", x.where, name)
				continue
			}
			if series := scraped[name]; series == nil {
				allServed = false
				if !seldom.MatchString(name) {
					t.Errorf("%s: neither a coordinator nor a worker serves %s", x.where, name)
				}
			}
			for k, m := range selectors {
				if k == i || m.Name == "job" || m.Name == "instance" {
					continue
				}
				if !slices.Contains(wanted, m.Name) {
					t.Errorf("%s: %s has no label %s", x.where, name, m.Name)
				}
				if series := scraped[name]; series != nil && !slices.ContainsFunc(series, func(s sample) bool { return m.Matches(s.labels.Get(m.Name)) }) {
					t.Errorf("%s: no series of %s matches %s", x.where, name, m)
				}
			}
		}
		if !allServed || strings.HasPrefix(x.where, "alert") {
			continue
		}
		q, err := engine.NewInstantQuery(t.Context(), storage, nil, x.text, time.Unix(600, 0))
		if err != nil {
			t.Fatal(err)
		}
		result := q.Exec(t.Context())
		rows, err := result.Vector()
		if err != nil || len(rows) == 0 {
			t.Errorf("%s: %s shows nothing on a real cluster: %v", x.where, x.text, err)
		}
		checkLegend(t, x, rows)
		q.Close()
	}
	for name := range known {
		if !used[name] && !slices.Contains(unused, name) {
			t.Errorf("neither an alert nor the board has %s; add it, or list it as unused", name)
		}
	}
}

// unused are metrics that need neither an alert nor a place on the board.
var unused = []string{
	"layshaft_audit_core_findings", "layshaft_audit_rounds_total", // parts of layshaft_audit_findings
	"layshaft_schedule_times_total",                                                                      // layshaft schedule show has them
	"layshaft_attempts", "layshaft_worker_attempts", "layshaft_worker_slots", "layshaft_worker_draining", // in the slots of the cluster
	"layshaft_backup_bytes", "layshaft_coordinator_applied_index", "layshaft_output_bytes", "layshaft_quota_bytes", "layshaft_function_submits_total",
}

// checkLegend reports labels of a legend that the result does not have.
func checkLegend(t *testing.T, x expression, rows promql.Vector) {
	t.Helper()
	for _, m := range regexp.MustCompile(`\{\{(\w+)\}\}`).FindAllStringSubmatch(x.legend, -1) {
		if len(rows) > 0 && !rows[0].Metric.Has(m[1]) {
			t.Errorf("%s: the legend names %s, and the result has the labels %s", x.where, m[1], rows[0].Metric)
		}
	}
}
