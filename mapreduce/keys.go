package mapreduce

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"github.com/layshaft/layshaft/internal/hotkeys"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/record"
)

// keySampler samples the keys of one output of an attempt.
type keySampler struct {
	*hotkeys.Sampler
	port int
	name func(key []byte) string
}

// sampleKeys returns a sampler for the keys of the records of w. Without K, where all records have
// one key, it returns nil.
func sampleKeys[K any](e *env, w *port, codec *record.KeyCodec[K], single bool) *hotkeys.Sampler {
	if single {
		return nil
	}
	s := hotkeys.NewSampler(uint64(e.run.Attempt.Task.Index))
	e.samplers = append(e.samplers, keySampler{s, w.number, func(key []byte) string { return keyName(codec, key) }})
	return s
}

// sampleParts is sampleKeys for keys that were encoded with AppendPart.
func sampleParts[K any](e *env, w *port, codec *record.KeyCodec[K]) *hotkeys.Sampler {
	s := hotkeys.NewSampler(uint64(e.run.Attempt.Task.Index))
	e.samplers = append(e.samplers, keySampler{s, w.number, func(part []byte) string {
		k := new(K)
		if _, err := codec.DecodePart(bytes.Clone(part), k); err != nil {
			return keyName(codec, part)
		}
		return keyName(codec, codec.Append(nil, k))
	}})
	return s
}

// sampleSorted is sampleKeys for the keys of a sort. Keys in descending order are inverted parts.
func sampleSorted[K any](e *env, w *port, codec *record.KeyCodec[K], desc bool) *hotkeys.Sampler {
	if !desc {
		return sampleKeys(e, w, codec, false)
	}
	s := hotkeys.NewSampler(uint64(e.run.Attempt.Task.Index))
	e.samplers = append(e.samplers, keySampler{s, w.number, func(key []byte) string {
		k := new(K)
		if _, err := codec.DecodePart(invert(bytes.Clone(key)), k); err != nil {
			return keyName(codec, key)
		}
		return keyName(codec, codec.Append(nil, k))
	}})
	return s
}

// keys returns what the samplers of the attempt have seen.
func (e *env) keys() (all []job.KeySample) {
	for _, s := range e.samplers {
		if k := s.Sample(s.port, s.name); k.Records > 0 {
			all = append(all, k)
		}
	}
	return all
}

// keyName returns a key as text, at most job.MaxKeyName bytes of it. Bytes outside UTF-8 are
// escaped. A key that cannot be decoded, because it was cut, is shown as it is encoded.
func keyName[K any](codec *record.KeyCodec[K], key []byte) string {
	text := string(key)
	if !codec.IsString {
		k := new(K)
		if err := codec.Decode(bytes.Clone(key), k); err == nil {
			text = fmt.Sprint(*k)
		}
	}
	if !utf8.ValidString(text) {
		text = plain.Text(text)
	}
	if len(text) <= job.MaxKeyName {
		return text
	}
	const mark = "…"
	cut := job.MaxKeyName - len(mark)
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + mark
}
