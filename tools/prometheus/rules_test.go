// Package prometheus checks deploy/prometheus and deploy/grafana with Prometheus's own library: it
// parses the rules, runs their tests, and compares all names with a scrape of real processes. It is
// a module of its own, so that nobody who uses layshaft downloads the library.
package prometheus

import (
	"context"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
	"gopkg.in/yaml.v3"
)

const (
	alertsPath = "../../deploy/prometheus/alerts.yaml"
	testsPath  = "../../deploy/prometheus/alerts_test.yaml"
)

func parse() parser.Parser { return parser.NewParser(parser.Options{}) }

// loadRules reads the alerts as Prometheus does: an unknown field, a bad expression or a bad
// template is an error.
func loadRules(t *testing.T, text []byte) (*rulefmt.RuleGroups, []error) {
	t.Helper()
	return rulefmt.Parse(text, false, model.UTF8Validation, parse(), promslog.NewNopLogger())
}

func TestRules(t *testing.T) {
	text, err := os.ReadFile(alertsPath)
	if err != nil {
		t.Fatal(err)
	}
	groups, errs := loadRules(t, text)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			if !strings.HasPrefix(r.Alert, "Layshaft") || r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["action"] == "" {
				t.Errorf("%s: an alert has a name, a severity, a summary and an action", r.Alert)
			}
		}
	}
	for from, to := range map[string]string{"expr: layshaft_audit": "exp: layshaft_audit", "for: 1m": "for: often", "{{ $value }}": "{{ $vale }}", "sum by (": "sum bye ("} {
		if _, errs := loadRules(t, []byte(strings.Replace(string(text), from, to, 1))); len(errs) == 0 {
			t.Errorf("%q instead of %q is not noticed: the test proves nothing", to, from)
		}
	}
}

// scenario is a test in the format of "promtool test rules".
type scenario struct {
	Name     string         `yaml:"name"`
	Interval model.Duration `yaml:"interval"`
	Series   []struct {
		Series, Values string
	} `yaml:"input_series"`
	Tests []struct {
		At     model.Duration `yaml:"eval_time"`
		Alert  string         `yaml:"alertname"`
		Wanted []struct {
			Labels      map[string]string `yaml:"exp_labels"`
			Annotations map[string]string `yaml:"exp_annotations"`
		} `yaml:"exp_alerts"`
	} `yaml:"alert_rule_test"`
}

// fired runs the rules on the series of s, and returns the alerts that fire at each asked moment.
func (s *scenario) fired(t *testing.T, step time.Duration) map[model.Duration]map[string][]*rules.Alert {
	t.Helper()
	load := "load " + s.Interval.String() + "\n"
	for _, x := range s.Series {
		load += "  " + x.Series + " " + x.Values + "\n"
	}
	suite, err := promqltest.NewLazyLoader(load, promqltest.LazyLoaderOpts{Parser: parse()})
	if err != nil {
		t.Fatal(err)
	}
	defer suite.Close()
	suite.SubqueryInterval = step
	m := rules.NewManager(&rules.ManagerOptions{
		QueryFunc: rules.EngineQueryFunc(suite.QueryEngine(), suite.Storage()), AppendableV2: suite.Storage(), Context: context.Background(),
		NotifyFunc: func(context.Context, string, ...*rules.Alert) {}, Logger: promslog.NewNopLogger(), Parser: parse(),
	})
	groups, errs := m.LoadGroups(time.Duration(s.Interval), labels.EmptyLabels(), "", nil, false, alertsPath)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	out, last := map[model.Duration]map[string][]*rules.Alert{}, time.Duration(0)
	for _, x := range s.Tests {
		out[x.At], last = nil, max(last, time.Duration(x.At))
	}
	for at := time.Duration(0); at <= last; at += step {
		now := map[string][]*rules.Alert{}
		suite.WithSamplesTill(time.Unix(0, 0).Add(at), func(err error) {
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range groups {
				g.Eval(suite.Context(), time.Unix(0, 0).Add(at))
				for _, r := range g.Rules() {
					if r.LastError() != nil {
						t.Fatalf("%s at %v: %v", r.Name(), at, r.LastError())
					}
					a := r.(*rules.AlertingRule)
					a.SetRestored(true)
					for _, x := range a.ActiveAlerts() {
						if x.State == rules.StateFiring {
							now[a.Name()] = append(now[a.Name()], x)
						}
					}
				}
			}
		})
		if _, asked := out[model.Duration(at)]; asked {
			out[model.Duration(at)] = now
		}
	}
	return out
}

// TestAlerts runs the tests of the alerts. Each alert must fire in one of them, and not fire in
// another.
func TestAlerts(t *testing.T) {
	b, err := os.ReadFile(testsPath)
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Rules    []string       `yaml:"rule_files"`
		Interval model.Duration `yaml:"evaluation_interval"`
		Tests    []scenario     `yaml:"tests"`
	}
	d := yaml.NewDecoder(strings.NewReader(string(b)))
	d.KnownFields(true)
	if err := d.Decode(&all); err != nil {
		t.Fatal(err)
	}
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, s := range all.Tests {
		t.Run(strings.ReplaceAll(s.Name, " ", "_"), func(t *testing.T) {
			got := s.fired(t, time.Duration(all.Interval))
			for _, x := range s.Tests {
				var want, have []string
				for _, a := range x.Wanted {
					a.Labels[labels.AlertName] = x.Alert
					want = append(want, text(labels.FromMap(a.Labels), labels.FromMap(a.Annotations)))
				}
				for _, a := range got[x.At][x.Alert] {
					have = append(have, text(a.Labels, a.Annotations))
				}
				slices.Sort(want)
				slices.Sort(have)
				if !slices.Equal(want, have) {
					t.Errorf("%s at %v:\n got %s\nwant %s", x.Alert, x.At, strings.Join(have, "\n     "), strings.Join(want, "\n     "))
				}
				fires[x.Alert], quiet[x.Alert] = fires[x.Alert] || len(want) > 0, quiet[x.Alert] || len(want) == 0
			}
		})
	}
	b, err = os.ReadFile(alertsPath)
	if err != nil {
		t.Fatal(err)
	}
	groups, errs := loadRules(t, b)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			if !fires[r.Alert] || !quiet[r.Alert] {
				t.Errorf("%s: fires in a test: %v, stays quiet in a test: %v; want both", r.Alert, fires[r.Alert], quiet[r.Alert])
			}
			delete(fires, r.Alert)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(fires)) {
		t.Errorf("%s is tested, but there is no such alert", name)
	}
}

func text(l, annotations labels.Labels) string {
	return fmt.Sprintf("%s: %s", l, annotations.Get("summary"))
}

// reference returns the metrics in docs/reference.md, which is made from the code: their labels.
func reference(t *testing.T) map[string][]string {
	t.Helper()
	b, err := os.ReadFile("../../docs/reference.md")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(layshaft_[a-z_]+)` \\| ([a-z, ]*) \\|").FindAllStringSubmatch(string(b), -1) {
		out[m[1]] = strings.FieldsFunc(m[2], func(r rune) bool { return r == ',' || r == ' ' })
	}
	if len(out) < 30 {
		t.Fatalf("found %d metrics in docs/reference.md", len(out))
	}
	return out
}
