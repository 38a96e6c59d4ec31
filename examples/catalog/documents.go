package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// documents is the store of changed documents if there is no search server: a table.
type documents struct{ db *database }

const putDocument = `
	INSERT INTO documents AS d (id, version, body) VALUES ($1, $2, $3)
	ON CONFLICT (id) DO UPDATE SET version = excluded.version, body = excluded.body WHERE d.version < excluded.version`

// Put writes a document, unless the table has the same or a newer version.
func (s documents) Put(ctx context.Context, id string, version int64, d Document) error {
	body, err := json.Marshal(d)
	if err == nil {
		_, err = s.db.query(ctx, putDocument, id, strconv.FormatInt(version, 10), string(body))
	}
	return err
}

// Delete notes that a version has no document.
func (s documents) Delete(ctx context.Context, id string, version int64) error {
	_, err := s.db.query(ctx, strings.Replace(putDocument, "$3", "NULL", 1), id, strconv.FormatInt(version, 10))
	return err
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
