package wire

import (
	"math"

	"github.com/layshaft/layshaft/internal/job"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// maxSamples is the limit of the samples of one attempt; an attempt has one per output.
const maxSamples = 1 << 10

// KeysToProto converts samples of keys.
func KeysToProto(all []job.KeySample) []*layshaftv1.KeySample {
	return List(all[:min(len(all), maxSamples)], func(s job.KeySample) *layshaftv1.KeySample {
		return &layshaftv1.KeySample{Port: int64(s.Port), Records: s.Records, Squares: s.Squares, Distinct: int64(s.Distinct),
			Keys: List(s.Keys, func(k job.KeyCount) *layshaftv1.KeyCount {
				return &layshaftv1.KeyCount{Hash: k.Hash, Name: []byte(k.Name), Records: k.Records}
			})}
	})
}

// KeysFromProto converts samples of keys. They are for people only, so it leaves out what does not
// keep to the limits, in place of an error.
func KeysFromProto(all []*layshaftv1.KeySample) []job.KeySample {
	var out []job.KeySample
	for _, p := range all[:min(len(all), maxSamples)] {
		s := job.KeySample{Port: int(p.GetPort()), Records: p.GetRecords(), Squares: p.GetSquares(), Distinct: int(p.GetDistinct())}
		if p.GetPort() < 0 || p.GetPort() > math.MaxInt32 || s.Records <= 0 || s.Squares <= 0 || s.Distinct < 0 {
			continue
		}
		for _, k := range p.GetKeys()[:min(len(p.GetKeys()), job.MaxKeys)] {
			if n := k.GetRecords(); n > 0 && n <= s.Records && len(k.GetName()) <= job.MaxKeyName {
				s.Keys = append(s.Keys, job.KeyCount{Hash: k.GetHash(), Name: text(string(k.GetName())), Records: n})
			}
		}
		out = append(out, s)
	}
	return out
}
