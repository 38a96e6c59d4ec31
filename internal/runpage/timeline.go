package runpage

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"io"
	"time"

	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
)

// tick is the unit of times in a timeline.
const tick = 100 * time.Microsecond

// timeline is the attempts of a run for timeline.js: columns of equal length. Times are in ticks
// after T0.
type timeline struct {
	T0      int64    `json:"t0"`    // milliseconds since 1970
	Now     int64    `json:"now"`   // end of the axis
	Total   int      `json:"total"` // attempts that have ended
	From    int      `json:"from"`  // number of the first attempt in the columns
	Stages  []string `json:"stages"`
	Workers []string `json:"workers"`
	Ends    []string `json:"ends"`
	columns
	// Running are the attempts that have not ended.
	Running columns `json:"running"`
}

// columns are the attempts, one after the other.
type columns struct {
	Worker []int `json:"w"`
	Stage  []int `json:"s"`
	Index  []int `json:"i"`
	N      []int `json:"n"`
	// Start is the time of the launch minus the one of the attempt before.
	Start []int64 `json:"a"`
	Took  []int64 `json:"d"`
	// End is the end, plus 16 for a speculative attempt.
	End     []int   `json:"e"`
	Records []int64 `json:"r"` // records in
	Bytes   []int64 `json:"b"` // bytes in
}

// WriteTimeline writes the attempts of a run from number from on as JSON, for timeline.js.
func WriteTimeline(w io.Writer, r *report.Run, running []report.Attempt, from int, now time.Time) error {
	from = min(max(from, 0), len(r.Attempts))
	t := timeline{Total: len(r.Attempts), From: from, Workers: []string{}, Stages: []string{}}
	for i := range r.Stages {
		t.Stages = append(t.Stages, r.Stages[i].Name)
	}
	for e := range report.Ends {
		t.Ends = append(t.Ends, e.String())
	}
	first, last := r.Submitted, r.Ended
	for i := range r.Attempts {
		a := &r.Attempts[i]
		if !a.Started.IsZero() && (first.IsZero() || a.Started.Before(first)) {
			first = a.Started
		}
		if a.Ended.After(last) {
			last = a.Ended
		}
	}
	if first.IsZero() {
		first = now
	}
	if r.Outcome == report.JobRunning && len(running) > 0 {
		last = now
	}
	t.T0, t.Now = first.UnixMilli(), int64(last.Sub(first)/tick)
	numbers := map[string]int{}
	worker := func(name string) int {
		n, ok := numbers[name]
		if !ok {
			n = len(t.Workers)
			numbers[name] = n
			t.Workers = append(t.Workers, name)
		}
		return n
	}
	var before int64
	add := func(c *columns, a *report.Attempt, took time.Duration) {
		start := int64(a.Started.Sub(first) / tick)
		if a.Started.IsZero() {
			start = int64(a.Ended.Sub(first) / tick)
		}
		end := int(a.End)
		if a.Speculative {
			end |= 16
		}
		c.Worker, c.Stage, c.Index, c.N = append(c.Worker, worker(a.Worker)), append(c.Stage, a.Task.Stage), append(c.Index, a.Task.Index), append(c.N, a.N)
		c.Start, c.Took, c.End = append(c.Start, start-before), append(c.Took, int64(took/tick)), append(c.End, end)
		c.Records, c.Bytes = append(c.Records, a.ReadRecords), append(c.Bytes, a.ReadBytes)
		before = start
	}
	for i := range r.Attempts {
		if i < from {
			worker(r.Attempts[i].Worker) // numbers do not depend on from
			continue
		}
		add(&t.columns, &r.Attempts[i], r.Attempts[i].Took())
	}
	before = 0
	for i := range running {
		add(&t.Running, &running[i], max(now.Sub(running[i].Started), 0))
	}
	return json.NewEncoder(w).Encode(plain.JSON(t))
}

// packedTimeline returns the timeline compressed, as text for an attribute.
func packedTimeline(r *report.Run, now time.Time) (string, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if err := WriteTimeline(z, r, nil, 0, now); err != nil {
		return "", err
	}
	if err := z.Close(); err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(b.Bytes()), nil
}
