package taskwire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

// gatheredItem is one task of a group in JSON, for programs without protobuf. docs/tasks.md
// documents its fields.
type gatheredItem struct {
	ID       string          `json:"id"`
	Outcome  string          `json:"outcome"`
	Encoding string          `json:"encoding,omitempty"`
	Result   json.RawMessage `json:"result,omitempty"`
	Error    *string         `json:"error,omitempty"`
}

// GatheredJSON converts encoded GatheredResults to JSON, for workers of other protocols. The JSON
// is an array with one object per task of the group: its ID, its outcome (done, failed or
// cancelled), and either the result or the error. The encoding of a result is json (unchanged),
// text (a string) or base64.
func GatheredJSON(encoded []byte) ([]byte, error) {
	var all tasksv1.GatheredResults
	if err := proto.Unmarshal(encoded, &all); err != nil {
		return nil, fmt.Errorf("results of a group: %w", err)
	}
	items := make([]gatheredItem, len(all.GetResults()))
	for i, r := range all.GetResults() {
		item := &items[i]
		item.ID = strconv.FormatUint(r.GetTask(), 16)
		if !r.GetDone() {
			item.Outcome = "failed"
			if r.GetState() == tasksv1.TaskState_TASK_STATE_CANCELLED {
				item.Outcome = "cancelled"
			}
			text := string(bytes.ToValidUTF8(r.GetError(), []byte("\uFFFD")))
			item.Error = &text
			continue
		}
		item.Outcome = "done"
		var err error
		switch result := r.GetResult(); {
		case len(result) == 0:
			item.Encoding, item.Result = "json", json.RawMessage("null")
		case !utf8.Valid(result):
			item.Encoding = "base64"
			item.Result, err = json.Marshal(result)
		case json.Valid(result):
			item.Encoding, item.Result = "json", result
		default:
			item.Encoding = "text"
			item.Result, err = plainJSON(string(result))
		}
		if err != nil {
			return nil, fmt.Errorf("result %d of the group: %w", i, err)
		}
	}
	return plainJSON(items)
}

// plainJSON is like json.Marshal, but does not escape <, > and &.
func plainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	to := json.NewEncoder(&b)
	to.SetEscapeHTML(false)
	err := to.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
