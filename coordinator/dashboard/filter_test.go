package dashboard

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

// A search, a state and an order are in the URL, and all links of the page keep them.
func TestFilters(t *testing.T) {
	t.Parallel()
	d := open(t)
	for i := range 130 {
		d.submitJob(t, fmt.Sprintf("nightly-%03d", i), "Night")
	}
	d.submitJob(t, "other", "x<y")
	if err := d.cfg.Coordinator.Cancel(t.Context(), "other", "test"); err != nil {
		t.Fatal(err)
	}
	d.submitTasks(t, "resize", 2)
	d.submitTasks(t, "mail", 5)
	d.submitTasks(t, "caf\xe9", 1)
	if _, err := d.cfg.Tasks.PauseFunction(t.Context(), &tasksv1.PauseFunctionRequest{Function: "mail", Paused: true}); err != nil {
		t.Fatal(err)
	}
	h := d.Handler()
	row := regexp.MustCompile(`<th scope="row"><a href="[^"]*">([^<]*)</a>`)
	for _, x := range []struct {
		path  string
		rows  int
		first string
		has   string
	}{
		{"/jobs?q=NIGHT", 100, "nightly-129", `href="/jobs?q=NIGHT&amp;page=2"`},
		{"/jobs?q=night&page=2", 30, "", "130 found"},
		{"/jobs?q=x%3Cy&sort=took", 1, "other", `href="/jobs?q=x%3Cy&amp;sort=took&amp;state=running"`},
		{"/jobs?q=nothing", 0, "", "Show all jobs"},
		{"/jobs?state=cancelled", 1, "other", `name="state" value="cancelled"`},
		{"/jobs?state=evil&sort=evil&page=x", 100, "other", `<option value="" selected>newest first`},
		{"/tasks", 3, `caf\xe9`, `href="/tasks?sort=waiting"`},
		{"/tasks?sort=waiting", 3, "mail", `aria-sort="descending"`},
		{"/tasks?state=paused", 1, "mail", `<option value="paused" selected>`},
		{"/tasks?q=caf%5Cxe9", 1, `caf\xe9`, "1 found"},
		{"/tasks?q=none&state=dead", 0, "", "Show all functions"},
		{"/workers?q=x&sort=disk", 0, "", "Show all workers"},
	} {
		w := get(t, h, x.path, browser)
		rows := row.FindAllStringSubmatch(w.Body.String(), -1)
		first := ""
		if len(rows) > 0 {
			first = rows[0][1]
		}
		if w.Code != http.StatusOK || len(rows) != x.rows || x.first != "" && first != x.first || !strings.Contains(w.Body.String(), x.has) {
			t.Errorf("%s: %d, %d rows, the first %q, want %d and %q; has %q: %v", x.path, w.Code, len(rows), first, x.rows, x.first, x.has, strings.Contains(w.Body.String(), x.has))
		}
	}
	body := get(t, h, "/tasks?function=mail&state=delayed", browser).Body.String()
	if !strings.Contains(body, `<a href="/tasks?function=mail&amp;state=delayed" aria-current="true">delayed 0</a>`) || !strings.Contains(body, `<a href="/tasks?function=mail&amp;state=waiting">waiting 5</a>`) {
		t.Errorf("the page of a function lacks links to states\n%s", body)
	}
}

// Inputs are shown as JSON, text or bytes, and cut with words.
func TestPreview(t *testing.T) {
	t.Parallel()
	long := bytes.Repeat([]byte("é"), 4<<10)
	for _, x := range []struct {
		in           []byte
		size         int
		kind, cut    string
		text, line   string
		prefixOfText bool
	}{
		{[]byte(`{"a":[1,"<b>"]}`), 15, "JSON", "", "{\n  \"a\": [\n    1,\n    \"<b>\"\n  ]\n}", `{"a":[1,"<b>"]}`, false},
		{[]byte(`{"a":`), 5, "text", "", `{"a":`, `{"a":`, false},
		{[]byte("17"), 2, "text", "", "17", "17", false},
		{[]byte("a\n\t b"), 5, "text", "", "a\n\t b", "a b", false},
		{nil, 0, "nothing", "", "", "–", false},
		{[]byte{0xff, 0, 'a'}, 3, "bytes", "", "00000000  ff 00 61", "3 bytes: ff 00 61", true},
		{long[:len(long)-1], 3 << 20, "text", "The first 8.0 KiB of 3.0 MiB.", "éé", strings.Repeat("é", 80) + " …", true},
		{binary.BigEndian.AppendUint64(make([]byte, 300), 1), 308, "bytes", "The first 256 B of 308 B.", "00000000  00", "308 bytes: 00 00 00 00 00 00 00 00 00 00 00 00 …", true},
	} {
		p := newPreview(x.in, x.size)
		if p.Kind != x.kind || p.Cut != x.cut || p.Line != x.line || !(p.Text == x.text || x.prefixOfText && strings.HasPrefix(p.Text, x.text)) {
			t.Errorf("%.20q: %+v", x.in, p)
		}
	}
}

// The page of a task has its input, and the errors of its attempts.
func TestTaskPage(t *testing.T) {
	t.Parallel()
	d := open(t)
	id := d.failTasks(t, "f", 1)[0]
	body := get(t, d.Handler(), fmt.Sprintf("/tasks/%x", id), browser).Body.String()
	for _, want := range []string{"&#34;sku&#34;: &#34;&lt;b&gt;7&lt;/b&gt;&#34;", "Attempts that failed", `<pre class="in">no image</pre>`, `<th scope="row">1</th>`, `data-l="Worker">w<`} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q\n%s", want, body)
		}
	}
	if list := get(t, d.Handler(), "/tasks?function=f", browser).Body.String(); !strings.Contains(list, `<code class="line">{&#34;sku&#34;: &#34;&lt;b&gt;7&lt;/b&gt;&#34;}</code>`) {
		t.Errorf("the list lacks the input\n%s", list)
	}
}
