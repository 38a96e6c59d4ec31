// Package searchtest gives tests a search server: Fake, a small one in memory that speaks the same
// HTTP as Elasticsearch and OpenSearch and can be told to fail, and Start, a real OpenSearch.
package searchtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Fake is an http.Handler with indexes, aliases, external versions and bulk requests. Mappings are
// stored, not enforced: Refuse refuses documents.
type Fake struct {
	// Refuse returns the status and reason with which a document is not accepted; zero accepts it.
	Refuse func(index, id string, doc []byte) (status int, reason string)
	// MaxBody is the largest body in bytes; zero means no limit.
	MaxBody int
	// Before may answer a request itself, by returning true. It is called without a lock.
	Before func(w http.ResponseWriter, r *http.Request, body []byte) bool

	// mu guards the fields below.
	mu      sync.Mutex
	indexes map[string]*fakeIndex
	bulks   int // bulk requests
	flying  int
	most    int // most bulk requests in flight
	writes  int // changes of documents
	log     []string
}

type fakeIndex struct {
	docs     map[string]fakeDoc
	mappings map[string]json.RawMessage
	settings map[string]any
	aliases  map[string]json.RawMessage
}

type fakeDoc struct {
	version int64
	source  string
	deleted bool
}

// Docs returns the documents of an index or alias as JSON, by ID.
func (f *Fake) Docs(name string) map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	docs := map[string]string{}
	for _, x := range f.resolve(name) {
		for id, d := range f.indexes[x].docs {
			if !d.deleted {
				docs[id] = d.source
			}
		}
	}
	return docs
}

// Counts returns the number of bulk requests, the most of them in flight, and the changes of
// documents.
func (f *Fake) Counts() (bulks, most, writes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.bulks, f.most, f.writes
}

// Requests returns all requests but bulk requests, such as "PUT /products-000001".
func (f *Fake) Requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.log)
}

// Indexes returns the names of all indexes, each with its aliases and settings.
func (f *Fake) Indexes() (list []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(f.indexes)) {
		x := f.indexes[name]
		list = append(list, fmt.Sprintf("%s %v refresh=%v replicas=%v", name, slices.Sorted(maps.Keys(x.aliases)), x.settings["refresh_interval"], x.settings["number_of_replicas"]))
	}
	return list
}

// Create adds an index.
func (f *Fake) Create(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.create(name, nil)
}

func (f *Fake) create(name string, body []byte) {
	if f.indexes == nil {
		f.indexes = map[string]*fakeIndex{}
	}
	x := &fakeIndex{docs: map[string]fakeDoc{}, mappings: map[string]json.RawMessage{}, aliases: map[string]json.RawMessage{},
		settings: map[string]any{"creation_date": "1700000000000", "number_of_replicas": "1"}}
	var b struct {
		Mappings map[string]json.RawMessage
		Settings map[string]any
	}
	if json.Unmarshal(body, &b) == nil {
		maps.Copy(x.mappings, b.Mappings)
		maps.Copy(x.settings, b.Settings)
	}
	f.indexes[name] = x
}

// resolve returns the indexes of a name: an index, an alias, or a pattern.
func (f *Fake) resolve(name string) (list []string) {
	for _, x := range slices.Sorted(maps.Keys(f.indexes)) {
		_, alias := f.indexes[x].aliases[name]
		if ok, _ := path.Match(name, x); ok || alias {
			list = append(list, x)
		}
	}
	return list
}

func fail(w http.ResponseWriter, status int, kind, reason string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"status": status, "error": map[string]any{"type": kind, "reason": reason}})
}

// ServeHTTP answers one request.
func (f *Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	name, verb, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	bulk := verb == "_bulk"
	f.mu.Lock()
	if bulk {
		f.bulks++
		f.flying++
		f.most = max(f.most, f.flying)
	} else {
		f.log = append(f.log, r.Method+" "+r.URL.Path)
	}
	f.mu.Unlock()
	defer func() {
		if bulk {
			f.mu.Lock()
			f.flying--
			f.mu.Unlock()
		}
	}()
	if f.Before != nil && f.Before(w, r, body) {
		return
	}
	if f.MaxBody > 0 && len(body) > f.MaxBody {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if name == "_aliases" {
		f.switchAliases(body)
		fmt.Fprint(w, `{"acknowledged":true}`)
		return
	}
	found := f.resolve(name)
	if len(found) == 0 && r.Method != http.MethodPut && !strings.Contains(name, "*") && verb != "_count" {
		fail(w, http.StatusNotFound, "index_not_found_exception", "no such index ["+name+"]")
		return
	}
	switch r.Method + " " + verb {
	case "PUT ":
		if len(found) > 0 {
			fail(w, http.StatusBadRequest, "resource_already_exists_exception", "index ["+name+"] already exists")
			return
		}
		f.create(name, body)
		fmt.Fprint(w, `{"acknowledged":true}`)
	case "DELETE ":
		delete(f.indexes, name)
		fmt.Fprint(w, `{"acknowledged":true}`)
	case "GET ", "GET _settings":
		out := map[string]any{}
		for _, x := range found {
			i := f.indexes[x]
			out[x] = map[string]any{"aliases": i.aliases, "mappings": i.mappings, "settings": map[string]any{"index": i.settings}}
		}
		_ = json.NewEncoder(w).Encode(out)
	case "PUT _settings":
		var b struct{ Index map[string]any }
		_ = json.Unmarshal(body, &b)
		for k, v := range b.Index {
			if f.indexes[name].settings[k] = v; v == nil {
				delete(f.indexes[name].settings, k)
			}
		}
		fmt.Fprint(w, `{"acknowledged":true}`)
	case "PUT _mapping":
		var b map[string]json.RawMessage
		_ = json.Unmarshal(body, &b)
		maps.Copy(f.indexes[name].mappings, b)
		fmt.Fprint(w, `{"acknowledged":true}`)
	case "POST _refresh":
		fmt.Fprint(w, `{}`)
	case "GET _count":
		n := 0
		for _, x := range found {
			for _, d := range f.indexes[x].docs {
				if !d.deleted {
					n++
				}
			}
		}
		fmt.Fprintf(w, `{"count":%d}`, n)
	case "POST _bulk":
		f.bulk(w, found[0], body)
	default:
		fail(w, http.StatusMethodNotAllowed, "fake", r.Method+" "+r.URL.Path)
	}
}

func (f *Fake) switchAliases(body []byte) {
	var b struct {
		Actions []map[string]struct{ Index, Alias string }
	}
	_ = json.Unmarshal(body, &b)
	for _, a := range b.Actions {
		for op, x := range a {
			if op == "add" {
				f.indexes[x.Index].aliases[x.Alias] = json.RawMessage(`{}`)
			} else {
				delete(f.indexes[x.Index].aliases, x.Alias)
			}
		}
	}
}

func (f *Fake) bulk(w http.ResponseWriter, index string, body []byte) {
	type meta struct {
		ID      string `json:"_id"`
		Version *int64
		Type    string `json:"version_type"`
	}
	var out bytes.Buffer
	failed := false
	answer := func(op, id string, status int, kind, reason string) {
		if out.Len() > 0 {
			out.WriteByte(',')
		}
		if kind == "" {
			fmt.Fprintf(&out, `{%q:{"_id":%q,"status":%d}}`, op, id, status)
			return
		}
		failed = true
		fmt.Fprintf(&out, `{%q:{"_id":%q,"status":%d,"error":{"type":%q,"reason":%s}}}`, op, id, status, kind, strconv.Quote(reason))
	}
	lines := bytes.Split(bytes.TrimSuffix(body, []byte("\n")), []byte("\n"))
	for i := 0; i < len(lines); i++ {
		var a map[string]meta
		if err := json.Unmarshal(lines[i], &a); err != nil || len(a) != 1 {
			fail(w, http.StatusBadRequest, "illegal_argument_exception", fmt.Sprintf("Malformed action/metadata line [%d]", i+1))
			return
		}
		for op, m := range a {
			var doc []byte
			if op == "index" {
				i++
				doc = lines[i]
			}
			if f.Refuse != nil {
				if status, reason := f.Refuse(index, m.ID, doc); status != 0 {
					answer(op, m.ID, status, "refused_exception", reason)
					continue
				}
			}
			was, exists := f.indexes[index].docs[m.ID]
			now := fakeDoc{was.version + 1, string(doc), op == "delete"}
			if m.Version != nil {
				if now.version = *m.Version; exists && now.version <= was.version {
					answer(op, m.ID, http.StatusConflict, "version_conflict_engine_exception", "version conflict")
					continue
				}
			}
			f.writes++
			f.indexes[index].docs[m.ID] = now
			switch {
			case now.deleted && (!exists || was.deleted):
				answer(op, m.ID, http.StatusNotFound, "", "")
			case exists:
				answer(op, m.ID, http.StatusOK, "", "")
			default:
				answer(op, m.ID, http.StatusCreated, "", "")
			}
		}
	}
	fmt.Fprintf(w, `{"took":1,"errors":%v,"items":[%s]}`, failed, out.Bytes())
}
