package dashboard

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/layshaft/layshaft/internal/plain"
)

// filter selects and sorts the rows of a listing. It is in the URL of the page, so it survives live
// updates, links and bookmarks.
type filter struct {
	Path  string // of the page
	Q     string // text that a row must contain
	State string
	Sort  string
	Page  int // from 1
	// States and Sorts are the possible values; the first one is the default, and has no name in
	// the URL.
	States, Sorts []option
	// Hidden are other parameters of the page.
	Hidden []option
}

// option is a possible value of a filter.
type option struct{ Value, Text string }

// maxQuery is the limit of a search text, in bytes.
const maxQuery = 200

// newFilter reads a filter from a request. Unknown values count as the default.
func newFilter(r *http.Request, states, sorts []option) filter {
	f := filter{Path: r.URL.Path, Q: strings.TrimSpace(r.FormValue("q")), Page: number(r), States: states, Sorts: sorts}
	f.Q = f.Q[:min(len(f.Q), maxQuery)]
	known := func(value string, all []option) string {
		if slices.ContainsFunc(all, func(o option) bool { return o.Value == value }) {
			return value
		}
		return ""
	}
	f.State, f.Sort = known(r.FormValue("state"), states), known(r.FormValue("sort"), sorts)
	return f
}

// base is the URL without the page.
func (f filter) base() string {
	v := url.Values{}
	for _, o := range append([]option{{"q", f.Q}, {"state", f.State}, {"sort", f.Sort}}, f.Hidden...) {
		if o.Text != "" {
			v.Set(o.Value, o.Text)
		}
	}
	if len(v) == 0 {
		return f.Path
	}
	return f.Path + "?" + v.Encode()
}

// key identifies the page.
func (f filter) key() string { return f.base() + "#" + strconv.Itoa(f.Page) }

// StateURL is the URL of the same listing in another state.
func (f filter) StateURL(state string) string {
	f.State = state
	return f.base()
}

// SortURL is the URL of the same listing in another order.
func (f filter) SortURL(sort string) string {
	f.Sort = sort
	return f.base()
}

// Empty reports whether nothing is searched for.
func (f filter) Empty() bool { return f.Q == "" && f.State == "" }

// matches reports whether one of the texts contains the search text, in either spelling, without
// regard to case.
func (f filter) matches(texts ...string) bool {
	if f.Q == "" {
		return true
	}
	want := strings.ToLower(f.Q)
	return slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(strings.ToLower(plain.Text(s)), want) })
}

// header is the head of a column that sorts.
type header struct {
	Text, URL string
	Here      bool
}

// Header returns the head of the column that a sort is about.
func (f filter) Header(sort, text string) header {
	return header{text, f.SortURL(sort), f.Sort == sort}
}

// sortBy sorts rows by a number, the largest first; equal ones stay in order.
func sortBy[T any, N cmp.Ordered](rows []T, of func(r *T) N) {
	slices.SortStableFunc(rows, func(a, b T) int { return cmp.Compare(of(&b), of(&a)) })
}

// describeCount returns the number of rows in words, for a listing with a search.
func (f filter) describeCount(n int) string {
	if f.Q == "" {
		return ""
	}
	return fmt.Sprintf("%d found", n)
}
