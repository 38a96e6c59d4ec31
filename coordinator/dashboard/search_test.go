package dashboard

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// A whole ID or name leads to its page, a part of one to a list of all kinds of things.
func TestSearch(t *testing.T) {
	t.Parallel()
	d := open(t)
	h := d.Handler()
	d.submitJob(t, "mail-night", "n")
	id := d.submitTasks(t, "mail", 1)[0]
	d.submitTasks(t, "mail<b>", 1)
	for q, want := range map[string]string{"mail-night": "/jobs/mail-night", "mail": "/tasks?function=mail", fmt.Sprintf("%x", id): fmt.Sprintf("/tasks/%x", id)} {
		if w := get(t, h, "/search?q="+q, browser); w.Code != http.StatusSeeOther || w.Header().Get("Location") != want {
			t.Errorf("%s: %d to %s, want %s", q, w.Code, w.Header().Get("Location"), want)
		}
	}
	for q, wants := range map[string][]string{
		"MAI":           {`<a href="/jobs/mail-night">`, `<a href="/tasks?function=mail">`, "mail&lt;b&gt;", `value="MAI"`},
		"%3Cb%3E":       {"mail&lt;b&gt;", `value="&lt;b&gt;"`},
		"nothing%3Cx":   {"Nothing found for <strong>nothing&lt;x</strong>"},
		"":              {"Type a part"},
		"%ff%00%3Cx%3E": {`Nothing found for <strong>\xff\x00&lt;x&gt;</strong>`},
	} {
		w := get(t, h, "/search?q="+q, browser)
		for _, want := range wants {
			if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
				t.Errorf("%s: %d lacks %q\n%s", q, w.Code, want, w.Body)
			}
		}
	}
	if w := get(t, h, "/workers/a/b", browser); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "Worker a/b is not known") {
		t.Errorf("an unknown worker: %d %s", w.Code, w.Body)
	}
}
