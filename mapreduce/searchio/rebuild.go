package searchio

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

// Rebuild makes a sink build a new index behind an alias.
type Rebuild struct {
	// Body creates the index: JSON with settings and mappings, as for PUT /INDEX. Empty leaves the
	// mapping to the server.
	Body string
	// Keep is the number of former indexes that stay for Rollback. Zero means 1, negative none.
	Keep int
	// AtLeast is a share of the documents of the present index, such as 0.5. A new index with fewer
	// documents fails the job: an empty input must not empty the shop. Zero means no check.
	AtLeast float64
	// Duplicates permits that several records have the same ID. Without it, the index must have as
	// many documents as were written.
	Duplicates bool
}

// Rebuild makes the index name of Write an alias. The job builds a new index ALIAS-000001,
// ALIAS-000002 and so on, with refresh and replicas switched off. At its end it restores both,
// counts the documents, and switches the alias in one step. A job that fails deletes the new index.
// A job that continues after a crash continues with its index.
func (s Sink[T]) Rebuild(r Rebuild) Sink[T] {
	r.Keep = max(cmp.Or(r.Keep, 1), 0)
	s.rebuild = &r
	s.options += ".Rebuild()"
	return s
}

// note is what searchio stores in the mapping of an index, under _meta.layshaft.
type note struct {
	Alias string `json:"alias"`
	Job   string `json:"job"`
	// Settings are the values to restore.
	Settings map[string]any `json:"settings,omitempty"`
	Done     bool           `json:"done,omitempty"` // complete, about to be switched
}

// index is an index that Rebuild made.
type index struct {
	name    string
	note    note
	meta    map[string]json.RawMessage // _meta with the user's own values
	created time.Time
	live    bool // the alias points to it
}

// checkIndex returns why the servers would refuse a name.
func checkIndex(name string) error {
	switch {
	case name == "" || len(name) > 200 || name != strings.ToLower(name) || strings.ContainsAny(name, "\\/*?\"<>| ,#:%") || strings.ContainsAny(name[:1], "-_+."):
		return fmt.Errorf("index %q: use 1 to 200 lower-case letters, digits, - and _, and begin with a letter or digit", name)
	}
	return nil
}

func pathOf(name string) string { return url.PathEscape(name) }

// do sends a request and decodes the answer into v, if v is not nil. A status that is no success is
// an error.
func (l *link) do(ctx context.Context, method, path string, body any, v any) error {
	var b []byte
	if body != nil {
		var err error
		if b, err = json.Marshal(body); err != nil {
			return err
		}
	}
	a, err := l.call(ctx, l.GiveUp, method, path, b)
	switch {
	case err != nil:
		return err
	case a.status/100 != 2:
		return l.refused(a)
	case v == nil:
		return nil
	}
	if err := json.Unmarshal(a.body, v); err != nil {
		return fmt.Errorf("search server %s: %s: its answer cannot be read: %w", l.URL, path, err)
	}
	return nil
}

// indexes lists the indexes that were built for an alias, by number.
func (l *link) indexes(ctx context.Context, alias string) ([]index, error) {
	var found map[string]struct {
		Aliases  map[string]json.RawMessage
		Mappings struct {
			Meta map[string]json.RawMessage `json:"_meta"`
		}
		Settings struct {
			Index struct {
				Date string `json:"creation_date"`
			}
		}
	}
	path := "/" + pathOf(alias) + "-*?filter_path=*.aliases,*.mappings._meta,*.settings.index.creation_date&expand_wildcards=all"
	if err := l.do(ctx, http.MethodGet, path, nil, &found); err != nil {
		return nil, err
	}
	var list []index
	for _, name := range slices.Sorted(maps.Keys(found)) {
		f := found[name]
		x := index{name: name, meta: f.Mappings.Meta}
		if json.Unmarshal(f.Mappings.Meta["layshaft"], &x.note) != nil || x.note.Alias != alias {
			continue // of somebody else
		}
		_, x.live = f.Aliases[alias]
		millis, _ := strconv.ParseInt(f.Settings.Index.Date, 10, 64)
		x.created = time.UnixMilli(millis)
		list = append(list, x)
	}
	return list, nil
}

// targets returns the indexes that an alias points to. It returns an error if the name belongs to
// an index.
func (l *link) targets(ctx context.Context, alias string) ([]string, error) {
	a, err := l.call(ctx, patience, http.MethodGet, "/"+pathOf(alias)+"?filter_path=*.aliases", nil)
	if err != nil {
		return nil, err
	}
	var found map[string]json.RawMessage
	switch {
	case a.status == http.StatusNotFound:
		return nil, nil
	case a.status != http.StatusOK:
		return nil, l.refused(a)
	}
	if err := json.Unmarshal(a.body, &found); err != nil {
		return nil, fmt.Errorf("search server %s: its answer cannot be read: %w", l.URL, err)
	}
	if _, ok := found[alias]; ok {
		return nil, connector.Fatal(fmt.Errorf("%q is an index; Rebuild needs the name for an alias: move the index to another name and give it the alias, or choose another name", alias))
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// body returns the body of PUT /INDEX with a note.
func (r *Rebuild) body(n *note) (map[string]any, error) {
	body := map[string]any{}
	d := json.NewDecoder(strings.NewReader(cmp.Or(r.Body, "{}")))
	d.UseNumber()
	if err := d.Decode(&body); err != nil {
		return nil, connector.Fatal(fmt.Errorf("Rebuild.Body is not the JSON of an index, such as {\"mappings\": {…}}: %w", err))
	}
	if n == nil {
		return body, nil
	}
	mappings, _ := body["mappings"].(map[string]any)
	if mappings == nil {
		mappings = map[string]any{}
	}
	meta, _ := mappings["_meta"].(map[string]any)
	if meta == nil {
		meta = map[string]any{}
	}
	meta["layshaft"], mappings["_meta"], body["mappings"] = n, meta, mappings
	return body, nil
}

// check creates an index as a trial, so that a mapping that the server refuses is an error before
// the long work.
func (r *Rebuild) check(ctx context.Context, l *link, alias string) error {
	if !(r.AtLeast >= 0 && r.AtLeast <= 1) {
		return fmt.Errorf("Rebuild.AtLeast %v: use a share from 0 to 1", r.AtLeast)
	}
	body, err := r.body(nil)
	if err != nil {
		return err
	}
	if _, err := l.targets(ctx, alias); err != nil {
		return err
	}
	trial := "/" + pathOf(alias+"-trial-"+strconv.FormatInt(time.Now().UnixNano(), 36))
	if err := l.do(ctx, http.MethodPut, trial+"?wait_for_active_shards=0", body, nil); err != nil {
		return fmt.Errorf("the server refuses an index with this Rebuild.Body: %w", err)
	}
	return l.do(context.WithoutCancel(ctx), http.MethodDelete, trial, nil, nil)
}

// paused are the settings while an index is filled.
var paused = map[string]any{"refresh_interval": "-1", "number_of_replicas": "0"}

// ensure returns the name of the index that a job fills. The first attempt creates it. If several
// try at once, they choose the same name, and one of them succeeds.
func (r *Rebuild) ensure(ctx context.Context, l *link, alias, job string) (string, error) {
	for {
		list, err := l.indexes(ctx, alias)
		if err != nil {
			return "", err
		}
		next := 1
		for _, x := range list {
			if x.note.Job == job && !x.note.Done && !x.live {
				return x.name, nil
			}
			if n, err := strconv.Atoi(strings.TrimPrefix(x.name, alias+"-")); err == nil {
				next = max(next, n+1)
			}
		}
		for {
			name := fmt.Sprintf("%s-%06d", alias, next)
			body, err := r.body(&note{Alias: alias, Job: job})
			if err != nil {
				return "", err
			}
			b, err := json.Marshal(body)
			if err != nil {
				return "", err
			}
			a, err := l.call(ctx, l.GiveUp, http.MethodPut, "/"+name, b)
			if err != nil {
				return "", err
			}
			if a.status == http.StatusOK {
				return name, r.pause(ctx, l, name, &note{Alias: alias, Job: job})
			}
			if !strings.Contains(reasonOf(a.body), "resource_already_exists") {
				return "", l.refused(a)
			}
			if list, err = l.indexes(ctx, alias); err != nil {
				return "", err
			}
			if slices.ContainsFunc(list, func(x index) bool { return x.name == name }) {
				break // made by another attempt, or another job
			}
			next++ // of somebody else
		}
	}
}

// pause switches refresh and replicas off, after it has stored their values.
func (r *Rebuild) pause(ctx context.Context, l *link, name string, n *note) error {
	var found map[string]struct {
		Settings struct{ Index map[string]any }
	}
	if err := l.do(ctx, http.MethodGet, "/"+name+"/_settings", nil, &found); err != nil {
		return err
	}
	n.Settings = map[string]any{}
	for key := range paused {
		n.Settings[key] = found[name].Settings.Index[key] // nil restores the default
	}
	if err := r.setNote(ctx, l, name, n); err != nil {
		return err
	}
	return l.do(ctx, http.MethodPut, "/"+name+"/_settings", map[string]any{"index": paused}, nil)
}

// setNote stores a note in an index.
func (r *Rebuild) setNote(ctx context.Context, l *link, name string, n *note) error {
	body, err := r.body(n)
	if err != nil {
		return err
	}
	meta := body["mappings"].(map[string]any)["_meta"]
	return l.do(ctx, http.MethodPut, "/"+name+"/_mapping", map[string]any{"_meta": meta}, nil)
}

// finish switches the alias. It may be killed at any point and called again.
func (r *Rebuild) finish(ctx context.Context, l *link, alias, job string, all part) error {
	if all.Index == "" { // no task ran
		var err error
		if all.Index, err = r.ensure(ctx, l, alias, job); err != nil {
			return err
		}
	}
	list, err := l.indexes(ctx, alias)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(list, func(x index) bool { return x.name == all.Index })
	if at < 0 {
		return connector.Fatal(fmt.Errorf("index %s is gone; run the job again", all.Index))
	}
	if x := list[at]; !x.live {
		if !x.note.Done {
			if err := r.complete(ctx, l, alias, x, all.Docs); err != nil {
				return err
			}
		}
		was, err := l.targets(ctx, alias)
		if err != nil {
			return err
		}
		actions := []any{map[string]any{"add": map[string]any{"index": x.name, "alias": alias}}}
		for _, name := range was {
			actions = append(actions, map[string]any{"remove": map[string]any{"index": name, "alias": alias}})
		}
		if err := l.do(ctx, http.MethodPost, "/_aliases", map[string]any{"actions": actions}, nil); err != nil {
			return err
		}
	}
	return r.clean(ctx, l, list, all.Index)
}

// complete checks a new index and restores its settings. A wrong count deletes the index, so that
// the next run starts with an empty one.
func (r *Rebuild) complete(ctx context.Context, l *link, alias string, x index, docs int64) error {
	if err := l.do(ctx, http.MethodPost, "/"+x.name+"/_refresh", nil, nil); err != nil {
		return err
	}
	n, err := l.count(ctx, x.name)
	if err != nil {
		return err
	}
	switch {
	case n > docs:
		err = fmt.Errorf("index %s has %s, and %d should be there: an earlier run of the job left some; run it again", x.name, report.Plural(n, "document"), docs)
	case n < docs && !r.Duplicates:
		err = fmt.Errorf("index %s has %s, and %d should be there: several records have the same ID; correct the IDs, or permit it by Rebuild.Duplicates", x.name, report.Plural(n, "document"), docs)
	case r.AtLeast > 0:
		now, countErr := l.count(ctx, alias)
		if countErr != nil {
			return countErr
		}
		if float64(n) < r.AtLeast*float64(now) {
			err = fmt.Errorf("index %s has %s, and %s has %d: less than the share %v of Rebuild.AtLeast; %s stays as it is", x.name, report.Plural(n, "document"), alias, now, r.AtLeast, alias)
		}
	}
	if err != nil {
		return connector.Fatal(errors.Join(err, l.remove(ctx, x.name)))
	}
	if x.note.Settings != nil {
		if err := l.do(ctx, http.MethodPut, "/"+x.name+"/_settings", map[string]any{"index": x.note.Settings}, nil); err != nil {
			return err
		}
	}
	x.note.Done, x.note.Settings = true, nil
	return r.setNote(ctx, l, x.name, &x.note)
}

// count returns the number of documents of an index or alias; zero if it does not exist.
func (l *link) count(ctx context.Context, name string) (int64, error) {
	var n struct{ Count int64 }
	err := l.do(ctx, http.MethodGet, "/"+pathOf(name)+"/_count?ignore_unavailable=true", nil, &n)
	return n.Count, err
}

// remove deletes an index. A missing index is no error.
func (l *link) remove(ctx context.Context, name string) error {
	a, err := l.call(ctx, l.GiveUp, http.MethodDelete, "/"+pathOf(name), nil)
	if err == nil && a.status/100 != 2 && a.status != http.StatusNotFound {
		err = l.refused(a)
	}
	return err
}

// clean deletes former indexes beyond the ones to keep, and indexes that jobs left unfinished a day
// ago.
func (r *Rebuild) clean(ctx context.Context, l *link, list []index, live string) error {
	var errs []error
	kept := 0
	for _, x := range slices.Backward(list) {
		switch {
		case x.name == live:
			continue
		case x.note.Done:
			if kept++; kept <= r.Keep {
				continue
			}
		case time.Since(x.created) < 24*time.Hour:
			continue
		}
		errs = append(errs, l.remove(ctx, x.name))
	}
	return errors.Join(errs...)
}

// abandon deletes the index that a failed job filled.
func (r *Rebuild) abandon(ctx context.Context, l *link, alias, job string) error {
	list, err := l.indexes(ctx, alias)
	if err != nil {
		return err
	}
	var errs []error
	for _, x := range list {
		if x.note.Job == job && !x.note.Done && !x.live {
			errs = append(errs, l.remove(ctx, x.name))
		}
	}
	return errors.Join(errs...)
}

// published reports whether the alias points to the index of a job.
func (r *Rebuild) published(ctx context.Context, l *link, alias, job string) (bool, error) {
	list, err := l.indexes(ctx, alias)
	return err == nil && slices.ContainsFunc(list, func(x index) bool { return x.live && x.note.Job == job }), err
}

// Rollback points an alias to the index that Rebuild built before the present one, and returns its
// name. Calling it again goes one more step back.
func Rollback(ctx context.Context, server Server, alias string) (string, error) {
	l, err := server.connect()
	if err != nil {
		return "", err
	}
	defer l.close()
	list, err := l.indexes(ctx, alias)
	if err != nil {
		return "", err
	}
	live := slices.IndexFunc(list, func(x index) bool { return x.live })
	for _, x := range slices.Backward(list[:max(live, 0)]) {
		if x.note.Done {
			return x.name, l.do(ctx, http.MethodPost, "/_aliases", map[string]any{"actions": []any{
				map[string]any{"add": map[string]any{"index": x.name, "alias": alias}},
				map[string]any{"remove": map[string]any{"index": list[live].name, "alias": alias}},
			}}, nil)
		}
	}
	return "", fmt.Errorf("search server %s: alias %q has no former index; Rebuild.Keep is the number that stays", l.URL, alias)
}
