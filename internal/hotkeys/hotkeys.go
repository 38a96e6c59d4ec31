// Package hotkeys finds the keys that many records have, in a stream of records, for less than a
// nanosecond per record.
//
// A Sampler takes one of about 64 records, at random, and then fewer and fewer. Its counters are a
// Space-Saving sketch (Metwally, Agrawal, El Abbadi: "Efficient Computation of Frequent and Top-k
// Elements in Data Streams", ICDT 2005). A new key takes the counter of the rarest key. So every
// key with more than 1/64 of the records has a counter in the end.
//
// For example, a writer asks for the distance to the next sample, and counts it down:
//
//	if left--; left < 0 {
//		left = s.Add(key, hash)
//	}
//
// Samples of several attempts merge by addition; see Merge. Hot tells which keys are worth a line.
package hotkeys

import (
	"cmp"
	"math"
	"slices"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/order"
)

const (
	// counters is the number of keys that a sampler and a merged sample count.
	counters = 64
	// maxKey is the limit of the bytes of a key that a sampler keeps.
	maxKey = 1 << 10
	// firstInterval is the mean distance of the first samples, in records. It doubles after each
	// perInterval samples.
	firstInterval = 64
	perInterval   = 512
	maxInterval   = 1 << 16
	// places is the size of the index of the counters by hash.
	places = 256
)

// Sampler samples the keys of one output of an attempt. Make one with NewSampler. Only one
// goroutine may use it.
type Sampler struct {
	random   uint64
	interval int64
	taken    int // samples since the last change of interval
	records  int64
	squares  int64
	n        int // counters in use
	hashes   [counters]uint64
	counts   [counters]int64
	over     [counters]int64 // count of the earlier keys of the counter
	keys     [counters][]byte
	// place has the counter of a hash plus 1, by the hash's lower bits. It is a hint: another key
	// may have taken the place.
	place [places]uint8
}

// NewSampler returns an empty sampler. Equal seeds choose the same records.
func NewSampler(seed uint64) *Sampler {
	return &Sampler{random: seed*0x9e3779b97f4a7c15 + 0x632be59bd9b4e019, interval: firstInterval}
}

// First returns the number of records to skip before the first sample.
func (s *Sampler) First() int { return s.gap() }

// gap returns a random distance, with the mean interval-1. A fixed one would always meet the same
// keys of data in turns.
func (s *Sampler) gap() int {
	s.random ^= s.random << 13
	s.random ^= s.random >> 7
	s.random ^= s.random << 17
	return int((s.random >> 32) % uint64(2*s.interval-1))
}

// Add counts a sampled key, and returns the number of records to skip before the next sample. hash
// identifies the key, in every process.
func (s *Sampler) Add(key []byte, hash uint64) (skip int) {
	i := s.find(hash)
	if i < 0 {
		if i = s.n; i < counters {
			s.n++
		} else {
			i = 0
			for k, n := range s.counts {
				if n < s.counts[i] {
					i = k
				}
			}
			s.over[i] = s.counts[i]
		}
		s.hashes[i] = hash
		s.keys[i] = append(s.keys[i][:0], key[:min(len(key), maxKey)]...)
		s.place[hash%places] = uint8(i + 1)
	}
	s.counts[i] += s.interval
	s.records += s.interval
	s.squares += s.interval * s.interval
	if s.taken++; s.taken == perInterval && s.interval < maxInterval {
		s.taken = 0
		s.interval *= 2
	}
	return s.gap()
}

// find returns the counter of a hash, or -1.
func (s *Sampler) find(hash uint64) int {
	if i := int(s.place[hash%places]) - 1; i >= 0 && s.hashes[i] == hash {
		return i
	}
	for i, h := range s.hashes[:s.n] {
		if h == hash {
			s.place[hash%places] = uint8(i + 1)
			return i
		}
	}
	return -1
}

// Sample returns what was sampled. name returns a key as text.
func (s *Sampler) Sample(port int, name func(key []byte) string) job.KeySample {
	out := job.KeySample{Port: port, Records: s.records, Squares: s.squares, Distinct: s.n}
	order := make([]int, s.n)
	for i := range order {
		order[i] = i
	}
	sure := func(i int) int64 { return s.counts[i] - s.over[i] }
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(sure(b), sure(a)), cmp.Compare(s.hashes[a], s.hashes[b]))
	})
	for _, i := range order[:min(len(order), job.MaxKeys)] {
		if sure(i)*200 < s.records { // never worth a line
			break
		}
		out.Keys = append(out.Keys, job.KeyCount{Hash: s.hashes[i], Name: name(s.keys[i]), Records: sure(i)})
	}
	return out
}

// Merge adds a sample of another attempt to a.
func Merge(a *job.KeySample, b job.KeySample) {
	a.Records += b.Records
	a.Squares += b.Squares
	keys := slices.Clone(a.Keys) // readers may have the old slice
	for _, k := range b.Keys {
		if i := slices.IndexFunc(keys, func(x job.KeyCount) bool { return x.Hash == k.Hash }); i >= 0 {
			keys[i].Records += k.Records
		} else {
			keys = append(keys, k)
		}
	}
	order.Sort(keys, func(x, y *job.KeyCount) int {
		return cmp.Or(cmp.Compare(y.Records, x.Records), cmp.Compare(x.Hash, y.Hash))
	})
	a.Distinct = max(a.Distinct, b.Distinct, len(keys))
	a.Keys = keys[:min(len(keys), counters)]
}

// Key is a key that many records have.
type Key struct {
	Name    string
	Share   float64 // of the records, from 0 to 1
	Records int64   // about so many
}

const (
	// hotShare is the least share of a hot key, and hotTimes how often it has the share of a key
	// in even data. Of few keys, one is hot with most of the records.
	hotShare = 0.01
	hotTimes = 2
	mostHot  = 0.75
	// sigmas is how sure a share must be, in standard deviations.
	sigmas = 3.0
)

// Hot returns the hot keys of a sample, the hottest first. A key is hot if it surely has twice the
// share that it would have if all keys were equally frequent, and at least a hundredth of the
// records.
func Hot(s *job.KeySample) (hot []Key) {
	if s.Records <= 0 || s.Squares <= 0 {
		return nil
	}
	even := 1 / float64(max(s.Distinct, 1))
	least := max(hotShare, min(hotTimes*even, (1+even)/2, mostHot))
	n := float64(s.Records) * float64(s.Records) / float64(s.Squares) // samples of equal weight
	for _, k := range s.Keys[:min(len(s.Keys), job.MaxKeys)] {
		if share := min(float64(k.Records)/float64(s.Records), 1); atLeast(share, n) >= least {
			hot = append(hot, Key{k.Name, share, k.Records})
		}
	}
	return hot
}

// atLeast returns the lower end of Wilson's interval for a share of n samples.
func atLeast(share, n float64) float64 {
	z := sigmas * sigmas / n
	return (share + z/2 - sigmas*math.Sqrt(share*(1-share)/n+z/(4*n))) / (1 + z)
}
