package report

import (
	"fmt"
	"slices"

	"github.com/layshaft/layshaft/internal/hotkeys"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/plain"
)

// Keys are samples of the keys of the records of a job, by stage and output, in this order.
type Keys []StageKeys

// StageKeys is the sample of one output of a stage.
type StageKeys struct {
	Stage int `json:"stage"`
	job.KeySample
}

// Add adds the sample of an attempt of a stage.
func (k *Keys) Add(stage int, s *job.KeySample) {
	i, ok := slices.BinarySearchFunc(*k, StageKeys{Stage: stage, KeySample: *s}, func(a, b StageKeys) int {
		if a.Stage != b.Stage {
			return a.Stage - b.Stage
		}
		return a.Port - b.Port
	})
	if !ok {
		*k = slices.Insert(*k, i, StageKeys{Stage: stage, KeySample: job.KeySample{Port: s.Port}})
	}
	hotkeys.Merge(&(*k)[i].KeySample, *s)
}

// Merge adds all samples of another part of the job.
func (k *Keys) Merge(other Keys) {
	for i := range other {
		k.Add(other[i].Stage, &other[i].KeySample)
	}
}

// Clone returns a copy that stays unchanged.
func (k Keys) Clone() Keys { return slices.Clone(k) }

// KeyShare is a key that many of the records of a stage have.
type KeyShare struct {
	Key     string  `json:"key"`     // at most 64 bytes of it, as text
	Share   float64 `json:"share"`   // of the records of the stage for one operator, from 0 to 1
	Records int64   `json:"records"` // about so many records
	For     string  `json:"for"`     // operator that reads the records
	To      int     `json:"to"`      // number of its stage; -1 if it is unknown
}

// hotKeys adds the hot keys to the stages that write them.
func (v *RunView) hotKeys(r *Run) {
	for i := range r.Keys {
		s := &r.Keys[i]
		if s.Stage < 0 || s.Stage >= len(v.Runs) {
			continue
		}
		to, reader := -1, ""
		for k := range r.Stages {
			reads := slices.ContainsFunc(r.Stages[k].Inputs, func(e job.Edge) bool {
				return e.From == s.Stage && e.Port == s.Port && e.Mode != job.Sinks
			})
			if reads && k < len(v.Runs) {
				to = k
				if ops := v.Runs[k].Operators; len(ops) > 0 {
					reader = ops[0].Name
				}
				break
			}
		}
		for _, h := range hotkeys.Hot(&s.KeySample) {
			v.Runs[s.Stage].HotKeys = append(v.Runs[s.Stage].HotKeys, KeyShare{h.Name, h.Share, h.Records, reader, to})
		}
	}
}

// hottest names the hottest key that stage k reads, as the end of a sentence.
func (v *RunView) hottest(k int) string {
	var most *KeyShare
	for i := range v.Runs {
		for j := range v.Runs[i].HotKeys {
			if h := &v.Runs[i].HotKeys[j]; h.To == k && (most == nil || h.Share > most.Share) {
				most = h
			}
		}
	}
	if most == nil {
		return ""
	}
	return fmt.Sprintf("; %.0f %% of the records have the key %s", 100*most.Share, plain.Text(most.Key))
}
