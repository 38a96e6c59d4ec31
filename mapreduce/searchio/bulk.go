package searchio

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"unicode/utf8"

	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

// batch is the content of one bulk request. Its memory is used again.
type batch struct {
	buf []byte
	ops []op
	bad []refusal // documents that the server refused
	// tooLarge is the size of the smallest request refused as too large; zero if none
	tooLarge int
}

// op is one action of a batch, as offsets in its buf.
type op struct {
	// the action, its ID, the document, the end; a deletion has no document
	start, id, doc, end int
	delete              bool
}

// refusal is a document that the server will never accept.
type refusal struct {
	op     op
	reason string
}

func (b *batch) reset() {
	b.buf, b.ops, b.bad = b.buf[:0], b.ops[:0], b.bad[:0]
	b.tooLarge = 0
}

// maxID is the longest ID that the servers accept, in bytes.
const maxID = 512

// checkID returns why an ID cannot be used.
func checkID(id string) error {
	switch {
	case id == "":
		return errors.New("its ID is empty")
	case len(id) > maxID:
		return fmt.Errorf("its ID has %d bytes; the server accepts %d", len(id), maxID)
	case !utf8.ValidString(id):
		return fmt.Errorf("its ID %q is not valid UTF-8", id)
	}
	return nil
}

// begin appends an action. version is added unless it is negative. The document follows.
func (b *batch) begin(id string, version int64, delete bool) {
	o := op{start: len(b.buf), delete: delete}
	if delete {
		b.buf = append(b.buf, `{"delete":{"_id":`...)
	} else {
		b.buf = append(b.buf, `{"index":{"_id":`...)
	}
	o.id = len(b.buf)
	b.buf = appendString(b.buf, id)
	if version >= 0 {
		b.buf = append(b.buf, `,"version":`...)
		b.buf = strconv.AppendInt(b.buf, version, 10)
		b.buf = append(b.buf, `,"version_type":"external"`...)
	}
	b.buf = append(b.buf, "}}\n"...)
	o.doc = len(b.buf)
	b.ops = append(b.ops, o)
}

// end completes the action of begin.
func (b *batch) end() {
	o := &b.ops[len(b.ops)-1]
	if !o.delete {
		b.buf = append(b.buf, '\n')
	}
	o.end = len(b.buf)
}

// undo removes the action of begin.
func (b *batch) undo() {
	last := len(b.ops) - 1
	b.buf, b.ops = b.buf[:b.ops[last].start], b.ops[:last]
}

// describe returns the ID of an action, in quotes.
func (b *batch) describe(o op) string {
	id := b.buf[o.id:o.doc]
	if i := bytes.Index(id, []byte(`,"version":`)); i >= 0 {
		return string(id[:i])
	}
	return string(bytes.TrimSuffix(id, []byte("}}\n")))
}

// appendString appends s as a string of JSON.
func appendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			b, _ := json.Marshal(s) // of a string cannot fail
			return append(dst, b...)
		}
	}
	return append(append(append(dst, '"'), s...), '"')
}

// bulk sends batches to one index.
type bulk struct {
	*link
	path string
}

func newBulk(l *link, index string) bulk {
	return bulk{l, "/" + pathOf(index) + "/_bulk?filter_path=errors,items.*.status,items.*.error"}
}

// item is the result of one action.
type item struct {
	Status int    `json:"status"`
	Error  *cause `json:"error"`
}

// send sends a batch until the server has accepted or refused each document. Refused documents are
// in b.bad then. All other problems are errors. Sending a document twice is harmless, because its
// ID and version are fixed.
func (s bulk) send(ctx context.Context, b *batch) error {
	return s.sendOps(ctx, b, b.ops, newPauses())
}

func (s bulk) sendOps(ctx context.Context, b *batch, ops []op, p *pauses) error {
	body := b.buf
	if len(ops) > 0 {
		body = b.buf[ops[0].start:ops[len(ops)-1].end]
	}
	for len(ops) > 0 {
		a, err := s.once(ctx, p.try, http.MethodPost, s.path, body)
		var items []item
		if err == nil && a.status == http.StatusOK {
			items, err = parseItems(a.body, len(ops))
		}
		switch {
		case err != nil && ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil: // perhaps the server has done all or half of it
			if isCertificate(err) {
				return s.unreachable(err)
			}
			err = s.unreachable(err)
		case a.status == http.StatusRequestEntityTooLarge && len(ops) == 1:
			b.bad = append(b.bad, refusal{ops[0], fmt.Sprintf("status 413: the server accepts no request of %d bytes", len(body))})
			return nil
		case a.status == http.StatusRequestEntityTooLarge:
			if b.tooLarge == 0 || len(body) < b.tooLarge {
				b.tooLarge = len(body)
			}
			half := len(ops) / 2
			if err := s.sendOps(ctx, b, ops[:half], p); err != nil {
				return err
			}
			return s.sendOps(ctx, b, ops[half:], p)
		case a.status != http.StatusOK:
			if err = s.refused(a); !isBusy(a.status) {
				return err
			}
		case items == nil: // all succeeded
			return nil
		default:
			var left []op
			left, err = s.sort(b, ops, items)
			if err != nil || len(left) == 0 {
				return err
			}
			err = fmt.Errorf("search server %s: %d of %s: %s", s.URL, len(left), report.Plural(len(ops), "document"), firstBusy(items))
			if len(left) < len(ops) { // it accepts some, so it is alive
				p.spent.Reset()
				ops = left
				body = body[:0:0]
				for _, o := range ops {
					body = append(body, b.buf[o.start:o.end]...)
				}
			}
		}
		if err := p.wait(ctx, a.after, s.GiveUp, err); err != nil {
			return err
		}
	}
	return nil
}

// sort puts refused documents into b.bad, and returns those to send again. A conflict means that
// the index has the same or a newer version, and a deletion of a missing document is done.
func (s bulk) sort(b *batch, ops []op, items []item) (left []op, err error) {
	for i, x := range items {
		switch {
		case x.Status/100 == 2, x.Status == http.StatusConflict, x.Status == http.StatusNotFound && ops[i].delete && x.Error == nil:
		case isBusy(x.Status):
			left = append(left, ops[i])
		case x.Error == nil:
			return nil, fmt.Errorf("search server %s: document %s: status %d without a reason", s.URL, b.describe(ops[i]), x.Status)
		case x.Status == http.StatusBadRequest:
			b.bad = append(b.bad, refusal{ops[i], x.Error.String()})
		default:
			return nil, connector.Fatal(fmt.Errorf("search server %s: document %s: status %d: %s", s.URL, b.describe(ops[i]), x.Status, x.Error))
		}
	}
	return left, nil
}

func firstBusy(items []item) string {
	for _, x := range items {
		if isBusy(x.Status) && x.Error != nil {
			return fmt.Sprintf("status %d: %s", x.Status, x.Error)
		}
	}
	return "the server is busy"
}

var (
	noErrors = []byte(`"errors":false`)
	statusOf = []byte(`"status":`)
)

// parseItems returns the results of n actions, or nil if all succeeded. An answer for another
// number of actions is an error, so that nothing counts as done by mistake.
func parseItems(body []byte, n int) ([]item, error) {
	if bytes.Contains(body[:min(len(body), 64)], noErrors) && bytes.Count(body, statusOf) == n && json.Valid(body) {
		return nil, nil
	}
	var x struct{ Items []map[string]item }
	if err := json.Unmarshal(body, &x); err != nil {
		return nil, fmt.Errorf("its answer cannot be read: %w", err)
	}
	if len(x.Items) != n {
		return nil, fmt.Errorf("it answered for %d of %s", len(x.Items), report.Plural(n, "document"))
	}
	items := make([]item, n)
	for i, m := range x.Items {
		for _, v := range m {
			items[i] = v
		}
	}
	return items, nil
}
