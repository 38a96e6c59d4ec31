package attempt

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/layshaft/layshaft/internal/job"
)

// boundaries returns n+1 keys that divide the input of all Range edges into n ranges with about
// equally many records. Range i is [key i, key i+1); the first and the last key are nil. So equal
// keys fall into one range, and a range may be empty. For example, three tasks might get the keys
// nil, "g", "p", nil.
//
// All readers of the same producers compute the same boundaries, and all inputs of a reader are
// divided alike. No boundary is longer than the first keys in manifests, which are cut short, so
// the cut changes no comparison with a boundary.
func boundaries(cfg Config) ([][]byte, error) {
	var points []point
	var total int64
	for i, e := range cfg.Stage.Inputs {
		if e.Mode != job.Range {
			continue
		}
		for _, p := range cfg.Launch.Producers[i] {
			m, err := cfg.Fetch.Manifest(p)
			if err != nil {
				return nil, err
			}
			for j := range m.Extents {
				x := &m.Extents[j]
				if x.Port != e.Port {
					continue
				}
				if len(x.Blocks) == 0 && x.Records > 0 {
					return nil, &job.Failure{Kind: job.Fatal, Message: fmt.Sprintf("port %d of %s is read by key range but its blocks have no first keys", x.Port, p.Attempt)}
				}
				var last int64
				for _, b := range x.Blocks {
					if len(points) == maxPoints {
						points = mergePoints(points)
					}
					points = append(points, point{b.First, last + b.Records})
					last = b.Records
					total += 2 * b.Records
				}
			}
		}
	}
	n := cfg.Stage.Tasks
	if i := cfg.Launch.Attempt.Task.Index; i < 0 || i >= n {
		return nil, &job.Failure{Kind: job.Fatal, Message: fmt.Sprintf("task %d of a stage of %d tasks", i, n)}
	}
	slices.SortFunc(points, byKey)
	bounds := make([][]byte, n+1)
	var before int64 // weight of the points before index at
	at := 0
	for i := 1; i < n; i++ {
		for at < len(points)-1 && before < total*int64(i)/int64(n) {
			before += points[at].weight
			at++
		}
		bounds[i] = []byte{} // never nil: nil would be the start or the end of all keys
		if len(points) > 0 {
			bounds[i] = append(bounds[i], points[at].key...)
		}
	}
	return bounds, nil
}

// point stands for the records around the first key of a block. The records of a block lie between
// its first key and the first key of the next block, so half of them count at each. Weights are
// doubled to stay whole numbers.
type point struct {
	key    []byte
	weight int64
}

func byKey(a, b point) int { return bytes.Compare(a.key, b.key) }

// maxPoints limits the points in memory. They are enough for 16 GB of input; above it, neighbours
// share a point.
var maxPoints = 1 << 18

// mergePoints sorts points and joins each two neighbours. It copies the keys, so the manifests can
// be freed.
func mergePoints(points []point) []point {
	slices.SortFunc(points, byKey)
	for i := range len(points) / 2 {
		a, b := points[2*i], points[2*i+1]
		points[i] = point{bytes.Clone(a.key), a.weight + b.weight}
	}
	return points[:len(points)/2]
}
