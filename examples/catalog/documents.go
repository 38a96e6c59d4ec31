package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/layshaft/layshaft/mapreduce/searchio"
)

// edit is a new version of one document.
type edit struct {
	ID      string    `json:"id"`
	Version int64     `json:"version"`
	Body    *Document `json:"body"` // nil for a deletion
}

// store has the documents. An older version never replaces a newer one. Of several edits of one
// document, write keeps the newest. Errors are by index.
type store interface {
	write(ctx context.Context, edits []edit) []error
}

// server is the store on a search server. Edits that are written at once share a request.
type server struct{ client *searchio.Client[Document] }

func (s server) write(ctx context.Context, edits []edit) []error {
	errs := make([]error, len(edits))
	var all sync.WaitGroup
	for i, e := range edits {
		all.Go(func() {
			if e.Body == nil {
				errs[i] = s.client.Delete(ctx, e.ID, e.Version)
			} else {
				errs[i] = s.client.Put(ctx, e.ID, e.Version, *e.Body)
			}
		})
	}
	all.Wait()
	return errs
}

// documents is the store of changed documents if there is no search server: a table.
type documents struct{ db *database }

const putDocuments = `
	INSERT INTO documents AS d (id, version, body)
	SELECT DISTINCT ON (id) id, version, body FROM json_to_recordset($1) AS e (id bigint, version bigint, body jsonb) ORDER BY id, version DESC
	ON CONFLICT (id) DO UPDATE SET version = excluded.version, body = excluded.body WHERE d.version < excluded.version`

// write writes documents in one statement. They are in the order of their IDs, so that two writers
// do not wait for each other.
func (s documents) write(ctx context.Context, edits []edit) []error {
	list, err := json.Marshal(edits)
	if err == nil && len(edits) > 0 {
		_, err = s.db.query(ctx, putDocuments, string(list))
	}
	errs := make([]error, len(edits))
	for i := range errs {
		errs[i] = err
	}
	return errs
}

// renew replaces documents of the nightly index by newer ones, and leaves out the products that are
// no longer sold.
func (s documents) renew(ctx context.Context, docs []Document) ([]Document, error) {
	ids := make([]string, len(docs))
	for i, d := range docs {
		ids[i] = docID(d)
	}
	rows, err := s.db.query(ctx, "SELECT id, version, body FROM documents WHERE id = ANY ($1::bigint[])", "{"+strings.Join(ids, ",")+"}")
	if err != nil {
		return docs, err
	}
	newer := map[string][][]byte{}
	for _, row := range rows {
		newer[string(row[0])] = row
	}
	var fresh []Document
	for i, d := range docs {
		row := newer[ids[i]]
		if row != nil {
			version, err := strconv.ParseInt(string(row[1]), 10, 64)
			switch {
			case err != nil:
				return docs, err
			case version <= d.Changed: // the nightly index is newer
			case row[2] == nil:
				continue
			default:
				d = Document{}
				if err := json.Unmarshal(row[2], &d); err != nil {
					return docs, fmt.Errorf("document %s: %w", ids[i], err)
				}
			}
		}
		fresh = append(fresh, d)
	}
	return fresh, nil
}
