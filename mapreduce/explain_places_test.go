package mapreduce

import (
	"strings"
	"testing"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
)

// -explain prints how near to their input the attempts would run, and with how many bytes.
func TestExplainPlaces(t *testing.T) {
	spec := &job.Spec{Stages: []job.Stage{{Splits: []job.Split{
		{Bytes: 1 << 10, Hosts: []string{"a"}}, {Bytes: 2 << 10, Hosts: []string{"b", "a"}}, {Bytes: 4 << 10, Hosts: []string{"b"}},
		{Bytes: 8 << 10, Hosts: []string{"gone"}}, {Bytes: 16 << 10}}}, {}}}
	workers := []report.Worker{{Name: "a-1", ID: "a", Zone: "z"}, {Name: "b-1", ID: "b", Zone: "z", State: report.Draining}}
	var out strings.Builder
	explainPlaces(&out, spec, workers)
	const want = "stage 0: attempts local: 2 (3.0 KiB), same zone: 1 (4.0 KiB), remote: 1 (8.0 KiB), with input equally near to all workers: 1 (16.0 KiB)\n"
	if out.String() != want {
		t.Errorf("got  %swant %s", &out, want)
	}
}
