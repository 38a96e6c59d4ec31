package sketch

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"unsafe"
)

const (
	// quantilesExact is the maximum number of values stored before buckets replace them.
	quantilesExact = 64
	// A bucket is selected by the upper 18 bits of orderedFloat: sign, exponent and six bits of the
	// mantissa. So a power of two is divided into 64 buckets of equal width. A bucket is no wider
	// than 1/64 of its values, and its middle is off by at most 1/128. This needs no logarithm, and
	// gives the same buckets on every processor.
	bucketShift = 64 - 18
	pageBits    = 6
	pageMask    = 1<<pageBits - 1
	pages       = 1 << (18 - pageBits) // one page per sign and exponent
)

// Quantiles summarizes numbers, to compute any quantile of them. Up to 64 numbers it stores them
// all and is exact.
//
// Above 64 numbers it counts them in buckets. A quantile is then off by at most 0.79 % of its true
// value. The smallest and the largest number stay exact. The memory is 512 bytes per power of two
// (and sign) in the input: prices from 1 to 10,000 take 7 KiB. No input takes more than 2.1 MiB.
//
// NaN is ignored. Numbers nearer to zero than 2.3e-308 count as zero.
type Quantiles struct {
	few  []float64 // all numbers, while many is nil
	many *buckets
}

type buckets struct {
	n        uint64
	min, max float64
	base     int // number of pages[0]
	pages    []*[1 << pageBits]uint64
	used     int // pages that are not nil
}

func bucketOf(x float64) int { return int(orderedFloat(x) >> bucketShift) }

// bucketValue returns the middle of a bucket.
func bucketValue(b int) float64 {
	lowest := uint64(b) << bucketShift
	x := fromOrderedFloat(lowest | 1<<(bucketShift-1))
	switch exp := math.Float64bits(x) >> 52 & 0x7ff; {
	case exp == 0:
		return 0
	case exp == 0x7ff:
		return math.Inf(b - 1<<17)
	}
	return x
}

// Add counts x.
func (q *Quantiles) Add(x float64) {
	if math.Abs(x) < 0x1p-1022 {
		x = 0
	}
	switch {
	case x != x:
	case q.many != nil:
		q.many.add(x)
	case len(q.few) < quantilesExact:
		q.few = append(q.few, x)
	default:
		q.spread()
		q.many.add(x)
	}
}

// spread moves the numbers to buckets.
func (q *Quantiles) spread() {
	q.many = &buckets{min: math.Inf(1), max: math.Inf(-1)}
	for _, x := range q.few {
		q.many.add(x)
	}
	q.few = nil
}

func (b *buckets) add(x float64) {
	if x < b.min {
		b.min = x
	}
	if x > b.max {
		b.max = x
	}
	k := bucketOf(x)
	b.page(k >> pageBits)[k&pageMask]++
	b.n++
}

// page returns the page with the given number, and creates it if it is missing.
func (b *buckets) page(no int) *[1 << pageBits]uint64 {
	if i := no - b.base; i >= 0 && i < len(b.pages) && b.pages[i] != nil {
		return b.pages[i]
	}
	switch {
	case len(b.pages) == 0:
		b.base = no
		b.pages = make([]*[1 << pageBits]uint64, 1, 8)
	case no < b.base:
		b.pages = slices.Insert(b.pages, 0, make([]*[1 << pageBits]uint64, b.base-no)...)
		b.base = no
	case no-b.base >= len(b.pages):
		b.pages = append(b.pages, make([]*[1 << pageBits]uint64, no-b.base+1-len(b.pages))...)
	}
	p := new([1 << pageBits]uint64)
	b.pages[no-b.base] = p
	b.used++
	return p
}

// Len returns how many numbers were added, without NaN.
func (q *Quantiles) Len() int {
	if q.many != nil {
		return int(q.many.n)
	}
	return len(q.few)
}

// Quantile returns the p-quantile: the smallest number x such that at least the share p of all
// numbers is x or less. p = 0 gives the smallest number, 0.5 the (lower) median, and 1 the largest.
// p below 0 counts as 0, and above 1 as 1. The result is NaN when there are no numbers or p is NaN.
func (q *Quantiles) Quantile(p float64) float64 {
	n := uint64(q.Len())
	if n == 0 || p != p {
		return math.NaN()
	}
	// Products such as 0.07*100 are slightly above the intended whole number.
	rank := uint64(max(1, math.Ceil(min(max(p, 0), 1)*float64(n)-1e-9)))
	rank = min(rank, n)
	if q.many == nil {
		slices.Sort(q.few)
		return q.few[rank-1]
	}
	switch b := q.many; rank {
	case 1:
		return b.min
	case n:
		return b.max
	default:
		for i, page := range b.pages {
			if page == nil {
				continue
			}
			for j, c := range page {
				if c >= rank {
					return min(max(bucketValue((b.base+i)<<pageBits+j), b.min), b.max)
				}
				rank -= c
			}
		}
		panic("quantiles: buckets hold less than was counted")
	}
}

// Size returns the bytes used beyond the fixed size of a Quantiles.
func (q *Quantiles) Size() int {
	if b := q.many; b != nil {
		return int(unsafe.Sizeof(*b)) + 8*cap(b.pages) + b.used<<(pageBits+3)
	}
	return 8 * cap(q.few)
}

// Merge adds all numbers of b to q and empties b.
func (q *Quantiles) Merge(b *Quantiles) {
	if q.Len() == 0 || q.many == nil && b.many != nil {
		*q, *b = *b, *q
	}
	for _, x := range b.few {
		q.Add(x)
	}
	if b.many != nil {
		q.many.min, q.many.max = min(q.many.min, b.many.min), max(q.many.max, b.many.max)
		q.many.n += b.many.n
		for i, from := range b.many.pages {
			if from == nil {
				continue
			}
			to := q.many.page(b.many.base + i)
			for j, c := range from {
				to[j] += c
			}
		}
	}
	*b = Quantiles{}
}

const (
	quantilesFew  = 0
	quantilesMany = 1
)

// AppendBinary appends the numbers in ascending order, or the smallest, the largest and all
// buckets. It never fails.
func (q Quantiles) AppendBinary(dst []byte) ([]byte, error) {
	if q.many == nil {
		if len(q.few) == 0 {
			return dst, nil
		}
		slices.Sort(q.few)
		dst = append(dst, quantilesFew)
		for _, x := range q.few {
			dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(x))
		}
		return dst, nil
	}
	b := q.many
	dst = append(dst, quantilesMany)
	dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(b.min))
	dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(b.max))
	last := bucketOf(b.min) // the first bucket, so its difference is zero
	for i, page := range b.pages {
		if page == nil {
			continue
		}
		for j, c := range page {
			if c != 0 {
				k := (b.base+i)<<pageBits + j
				dst = binary.AppendUvarint(dst, uint64(k-last))
				dst = binary.AppendUvarint(dst, c)
				last = k
			}
		}
	}
	return dst, nil
}

var errQuantiles = errors.New("quantiles: damaged")

// UnmarshalBinary replaces the numbers with the result of AppendBinary. It fails on other bytes and
// then changes nothing.
func (q *Quantiles) UnmarshalBinary(data []byte) error {
	var r Quantiles
	switch {
	case len(data) == 0:
	case data[0] == quantilesFew:
		data = data[1:]
		if len(data)%8 != 0 || len(data) == 0 || len(data) > 8*quantilesExact {
			return errQuantiles
		}
		r.few = make([]float64, 0, len(data)/8)
		for ; len(data) > 0; data = data[8:] {
			x, err := decodeNumber(data)
			if err != nil {
				return err
			}
			if n := len(r.few); n > 0 && r.few[n-1] > x {
				return errQuantiles
			}
			r.few = append(r.few, x)
		}
	case data[0] == quantilesMany:
		b, err := decodeBuckets(data[1:])
		if err != nil {
			return err
		}
		r.many = b
	default:
		return errQuantiles
	}
	*q = r
	return nil
}

// decodeNumber reads a number and refuses numbers that Add never stores.
func decodeNumber(data []byte) (float64, error) {
	if len(data) < 8 {
		return 0, errQuantiles
	}
	u := binary.BigEndian.Uint64(data)
	x := math.Float64frombits(u)
	if x != x || math.Abs(x) < 0x1p-1022 && u != 0 {
		return 0, errQuantiles
	}
	return x, nil
}

func decodeBuckets(data []byte) (*buckets, error) {
	lo, err := decodeNumber(data)
	if err != nil {
		return nil, err
	}
	hi, err := decodeNumber(data[8:])
	if err != nil {
		return nil, err
	}
	if lo > hi {
		return nil, errQuantiles
	}
	b := &buckets{min: lo, max: hi}
	k, end := uint64(bucketOf(lo)), uint64(bucketOf(hi))
	for data = data[16:]; len(data) > 0; {
		diff, w := uvarint(data)
		c, v := uvarint(data[w:])
		if w == 0 || v == 0 || c == 0 || diff > end-k || (diff == 0) != (b.n == 0) || b.n+c < c || b.n+c > math.MaxInt64 {
			return nil, errQuantiles
		}
		k += diff // only the first difference is zero
		b.page(int(k >> pageBits))[k&pageMask] = c
		b.n += c
		data = data[w+v:]
	}
	if k != end || b.n <= quantilesExact {
		return nil, errQuantiles
	}
	return b, nil
}
