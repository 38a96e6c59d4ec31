package httpapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/wire"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

// request is the JSON of a submit. With ?function= in the address, the body is the input, and the
// other fields come from the query.
type request struct {
	Function string `json:"function"`
	// Input is the input as a JSON value; InputText and InputBase64 are other forms.
	Input       json.RawMessage `json:"input"`
	InputText   *string         `json:"input_text"`
	InputBase64 []byte          `json:"input_base64"`

	Unique         string `json:"unique"`
	Coalesce       string `json:"coalesce"`        // as unique; a running task runs once more
	Priority       string `json:"priority"`        // high, normal or low
	After          string `json:"after"`           // a duration, or a time
	Attempts       int64  `json:"attempts"`        // zero means 5
	Timeout        string `json:"timeout"`         // of one attempt
	Keep           string `json:"keep"`            // of the result after the end
	Durability     string `json:"durability"`      // disk or memory
	IdempotencyKey string `json:"idempotency_key"` // as the header Idempotency-Key
	Wait           string `json:"wait"`            // for the end
	CalledBy       string `json:"called_by"`       // the task whose handler waits
}

// defaultKeep is the default of keep, as in package tasks.
const defaultKeep = 10 * time.Minute

// priorities has the names of priorities.
var priorities = map[tasksv1.TaskPriority]string{
	tasksv1.TaskPriority_TASK_PRIORITY_UNSPECIFIED: "normal",
	tasksv1.TaskPriority_TASK_PRIORITY_HIGH:        "high",
	tasksv1.TaskPriority_TASK_PRIORITY_LOW:         "low",
}

// readTask reads the task of a submit, and how the client waits.
func readTask(w http.ResponseWriter, r *http.Request) (spec *tasksv1.TaskSpec, wait waiting, err error) {
	q := &request{}
	var input []byte
	if query := r.URL.Query(); query.Has("function") {
		if q, err = ofQuery(query); err == nil {
			input, err = readBody(w, r, maxInput)
		}
	} else {
		input, err = q.read(w, r)
	}
	if err != nil {
		return nil, wait, err
	}
	if spec, err = q.spec(r.Header.Get("Idempotency-Key")); err != nil {
		return nil, wait, err
	}
	spec.Input = input
	wait, err = parseWait(q.Wait, q.CalledBy)
	return spec, wait, err
}

// read reads a request in JSON, and returns its input.
func (q *request) read(w http.ResponseWriter, r *http.Request) (input []byte, err error) {
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
		return nil, &problem{http.StatusUnsupportedMediaType, fmt.Sprintf("the body is %q; send application/json, or name the function in the address, as in ?function=resize, for a body that is the input itself", cut(kind))}
	}
	b, err := readBody(w, r, maxEnvelope)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err = d.Decode(q); err == nil {
		if _, err = d.Token(); err == nil {
			err = errors.New("text after the object")
		} else if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	if err != nil {
		return nil, badRequest("the body is no request: %v", err)
	}
	forms := 0
	for _, is := range []bool{q.Input != nil, q.InputText != nil, q.InputBase64 != nil} {
		if is {
			forms++
		}
	}
	if forms > 1 {
		return nil, badRequest("input, input_text and input_base64 exclude each other")
	}
	input = q.Input
	if q.InputText != nil {
		input = []byte(*q.InputText)
	} else if q.InputBase64 != nil {
		input = q.InputBase64
	}
	if len(input) > maxInput {
		return nil, &problem{http.StatusRequestEntityTooLarge, fmt.Sprintf("the input has %d bytes; %d is the most", len(input), maxInput)}
	}
	return input, nil
}

// ofQuery returns the request in a query.
func ofQuery(query url.Values) (*request, error) {
	q := &request{}
	fields := map[string]*string{"function": &q.Function, "unique": &q.Unique, "coalesce": &q.Coalesce, "priority": &q.Priority, "after": &q.After, "timeout": &q.Timeout,
		"keep": &q.Keep, "durability": &q.Durability, "idempotency_key": &q.IdempotencyKey, "wait": &q.Wait, "called_by": &q.CalledBy}
	for name, values := range query {
		field := fields[name]
		switch {
		case len(values) > 1:
			return nil, badRequest("%q is in the address %d times", cut(name), len(values))
		case name == "attempts":
			n, err := strconv.ParseInt(values[0], 10, 32)
			if err != nil {
				return nil, badRequest("attempts %q is no number", cut(values[0]))
			}
			q.Attempts = n
		case field == nil:
			return nil, badRequest("%q is no parameter; there are attempts, %s", cut(name), strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
		default:
			*field = values[0]
		}
	}
	return q, nil
}

// spec returns the task without its input.
func (q *request) spec(header string) (*tasksv1.TaskSpec, error) {
	if q.Function == "" {
		return nil, badRequest("no function is named")
	}
	s := &tasksv1.TaskSpec{Function: q.Function, Unique: q.Unique, Policy: &tasksv1.TaskPolicy{Attempts: q.Attempts}}
	if q.Coalesce != "" {
		if q.Unique != "" {
			return nil, badRequest("unique and coalesce exclude each other")
		}
		s.Unique, s.Fresh = q.Coalesce, true
	}
	if q.Attempts < 0 {
		return nil, badRequest("attempts %d is negative; 0 means the default", q.Attempts)
	}
	known := q.Priority == ""
	for p, name := range priorities {
		if name == q.Priority {
			s.Priority, known = p, true
		}
	}
	if !known {
		return nil, badRequest("priority %q is none of high, normal and low", cut(q.Priority))
	}
	switch q.Durability {
	case "", "disk":
	case "memory":
		s.Durability = tasksv1.Durability_DURABILITY_MEMORY
	default:
		return nil, badRequest("durability %q is neither disk nor memory", cut(q.Durability))
	}
	var err error
	if at, failed := time.Parse(time.RFC3339, q.After); failed == nil {
		s.DueNanos = at.UnixNano()
	} else if s.DelayNanos, err = nanos("after", q.After, 0); err != nil {
		return nil, badRequest("after %q is neither a duration, as 90s or 1h30m, nor a time, as 2026-12-24T18:00:00Z", cut(q.After))
	}
	if s.Policy.KeepNanos, err = nanos("keep", q.Keep, defaultKeep); err != nil {
		return nil, err
	}
	if s.Policy.HardNanos, err = nanos("timeout", q.Timeout, 0); err != nil {
		return nil, err
	}
	if header != "" && q.IdempotencyKey != "" && header != q.IdempotencyKey {
		return nil, badRequest("idempotency_key and the header Idempotency-Key differ")
	}
	if key := cmp.Or(header, q.IdempotencyKey); key != "" {
		s.Token, s.Resubmitted = wire.TokenOf(q.Function, key), true
	}
	return s, nil
}

// nanos parses a duration: 90s, 1h30m, or a number of seconds.
func nanos(name, text string, otherwise time.Duration) (int64, error) {
	if text == "" {
		return int64(otherwise), nil
	}
	d, err := time.ParseDuration(text)
	if n, failed := strconv.ParseInt(text, 10, 32); failed == nil {
		d, err = time.Duration(n)*time.Second, nil
	}
	if err != nil || d < 0 {
		return 0, badRequest("%s %q is no duration, as 90s or 1h30m", name, cut(text))
	}
	return int64(d), nil
}

// waiting is how a client waits for the end of a task: for some time, and perhaps in the handler of
// another task, which lends its slot meanwhile.
type waiting struct {
	limit  time.Duration
	parent uint64 // zero: none
}

// parseWait parses the time for which a client waits, and the ID of the task whose handler it is.
func parseWait(text, calledBy string) (w waiting, err error) {
	n, err := nanos("wait", text, 0)
	if err == nil && time.Duration(n) > maxWait {
		err = badRequest("wait %s is over %v; ask again with GET /api/v1/tasks/ID?wait=30s", cut(text), maxWait)
	}
	w.limit = time.Duration(n)
	if calledBy != "" && err == nil {
		var ok bool
		if w.parent, ok = wire.ParseTaskID(calledBy); !ok {
			err = badRequest("called_by %q is no ID of a task: 1 to 16 hexadecimal digits", cut(calledBy))
		}
	}
	return w, err
}
