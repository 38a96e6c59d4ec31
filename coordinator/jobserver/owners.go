package jobserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"

	"github.com/layshaft/layshaft/coordinator/datadir"
	"github.com/layshaft/layshaft/internal/state"
	"github.com/layshaft/layshaft/internal/wire"
)

// maxOwners is the limit of remembered worker IDs. Beyond it, new ones are not bound.
const maxOwners = 1 << 16

// owners remembers with which certificate each worker ID joined first. It refuses a copied data
// directory with another certificate, also while the original is away. With files it survives
// restarts.
type owners struct {
	files datadir.Files // nil means memory only
	log   *slog.Logger

	// mu guards the field below.
	mu   sync.Mutex
	byID map[string]string // identities in certificates
}

// ownersFile is the name of the file.
const ownersFile = "owners"

var ownersFormat = state.Format{Kind: "owners", Version: 1}

// ownersContent is the content of the file.
type ownersContent struct {
	Format     string            `json:"format"`
	Identities map[string]string `json:"identities"` // in certificates, by worker ID
}

// open reads the file of an earlier process. A damaged file is forgotten: each ID is bound anew. A
// file of another release is an error that wraps state.ErrFormat.
func (o *owners) open(files datadir.Files, log *slog.Logger) error {
	o.files, o.log = files, log
	var content ownersContent
	b, err := files.Read(ownersFile)
	if err == nil {
		err = json.Unmarshal(b, &content)
	}
	switch {
	case err == nil:
		o.byID = content.Identities
		if err := ownersFormat.Check(content.Format, "another directory"); err != nil {
			return fmt.Errorf("file %s of the data directory: %w", ownersFile, err)
		}
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, state.ErrDamaged), errors.As(err, new(*json.SyntaxError)):
		log.Warn("list of workers and their certificates is not readable, and made anew", "err", err)
		return nil
	}
	return err
}

// claim binds a worker ID to a certificate, and refuses it with another one.
func (o *owners) claim(id, certificate string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch owner, known := o.byID[id]; {
	case known && owner != certificate:
		return fmt.Errorf("%w: worker ID %s belongs to the certificate of %s, and this worker has the one of %s: if its data directory is a copy, remove self.json and its copy from it; if the certificate was replaced, run: layshaft worker drain %s",
			wire.ErrForbidden, id, owner, certificate, id)
	case known || len(o.byID) >= maxOwners:
		return nil
	}
	if o.byID == nil {
		o.byID = map[string]string{}
	}
	o.byID[id] = certificate
	o.save()
	return nil
}

// release ends the binding of a worker ID.
func (o *owners) release(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, known := o.byID[id]; known {
		delete(o.byID, id)
		o.save()
	}
}

// save writes the file. A failure costs only the memory of the last change. The caller holds mu.
func (o *owners) save() {
	if o.files == nil {
		return
	}
	b, err := json.Marshal(ownersContent{ownersFormat.String(), o.byID})
	if err == nil {
		err = o.files.Write(ownersFile, append(b, '\n'))
	}
	if err != nil {
		o.log.Warn("list of workers and their certificates not stored", "err", err)
	}
}
