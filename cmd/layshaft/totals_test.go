package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/layshaft/layshaft/coordinator/dashboard"
	"github.com/layshaft/layshaft/internal/report"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

// While tasks come and are cancelled, the page, /api/status, the command line and the metrics have
// totals of one instant each: they conserve, and counts that only grow lie between the
// counts before and after.
func TestTotalsAgreeUnderLoad(t *testing.T) {
	x := startCluster(t)
	rpc := tasksv1.NewTasksServiceClient(x.client.Conn())
	stop := make(chan struct{})
	var load sync.WaitGroup
	for k := range 2 {
		load.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				a, err := rpc.SubmitTasks(t.Context(), &tasksv1.SubmitTasksRequest{Tasks: []*tasksv1.TaskSpec{
					{Function: fmt.Sprint("load", k), Background: true, Durability: tasksv1.Durability_DURABILITY_MEMORY}, {Function: "resize", Background: true, Durability: tasksv1.Durability_DURABILITY_MEMORY}}})
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := rpc.CancelTasks(t.Context(), &tasksv1.CancelTasksRequest{Tasks: []uint64{a.GetAccepted()[0].GetTask()}}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	defer load.Wait()
	defer close(stop)

	conserves := func(what string, c report.TaskCounts) report.TaskCounts {
		t.Helper()
		if sum := c.Waiting + c.Delayed + c.Running + c.Done + c.Failed + c.Cancelled; sum != c.Submitted {
			t.Errorf("%s: %d submitted, but %d in all states: %+v", what, c.Submitted, sum, c)
		}
		return c
	}
	status := func() report.TaskCounts {
		var s dashboard.Status
		if err := json.Unmarshal([]byte(x.get("/api/status", "application/json")), &s); err != nil {
			t.Fatal(err)
		}
		return conserves("/api/status", s.QueuedTasks)
	}
	number := func(text, pattern string) int {
		t.Helper()
		m := regexp.MustCompile(pattern).FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("no %s on the page\n%s", pattern, text)
		}
		n, err := strconv.Atoi(strings.ReplaceAll(m[1], ",", ""))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(x.board)
	views := map[string]func(i int) report.TaskCounts{
		"page": func(i int) report.TaskCounts {
			text := x.get(fmt.Sprintf("/tasks?q=%d", i), "text/html") // each search is a page of its own
			box := text[strings.Index(text, `class="key"`):]
			c := report.TaskCounts{Submitted: number(box, `([0-9,]+) submitted`), Waiting: number(box, `([0-9,]+) waiting`), Running: number(box, `([0-9,]+) running`),
				Done: number(box, `([0-9,]+) done`), Failed: number(box, `([0-9,]+) failed`)}
			if strings.Contains(box, " cancelled</span>") {
				c.Cancelled = number(box, `([0-9,]+) cancelled`)
			}
			return c
		},
		"command line": func(int) report.TaskCounts {
			o, err := x.tasks.Overview(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return report.TaskCounts(o.Totals)
		},
		"metrics": func(int) (c report.TaskCounts) {
			families, err := metrics.Gather()
			if err != nil {
				t.Fatal(err)
			}
			to := map[string]*int{"waiting": &c.Waiting, "delayed": &c.Delayed, "running": &c.Running, "done": &c.Done, "failed": &c.Failed, "cancelled": &c.Cancelled}
			for _, f := range families {
				for _, m := range f.GetMetric() {
					if l := m.GetLabel(); f.GetName() == "layshaft_tasks" && l[0].GetValue() == "queued" {
						*to[l[1].GetValue()] = int(m.GetGauge().GetValue())
						c.Submitted += int(m.GetGauge().GetValue())
					}
				}
			}
			return c
		},
	}
	first := status()
	before := first
	for i := 0; i < 20 || before.Submitted == first.Submitted; i++ {
		for name, view := range views {
			c := conserves(name, view(i))
			after := status()
			for what, n := range map[string][3]int{"submitted": {before.Submitted, c.Submitted, after.Submitted}, "cancelled": {before.Cancelled, c.Cancelled, after.Cancelled}} {
				if n[1] < n[0] || n[1] > n[2] {
					t.Errorf("%s: %d %s, /api/status had %d before and %d after", name, n[1], what, n[0], n[2])
				}
			}
			before = after
		}
	}
	t.Logf("%d tasks were submitted during the looks", before.Submitted-first.Submitted)
}
