package main

import (
	"io"
	"math"
	"math/rand/v2"
)

// weighted draws numbers from 0 to n-1 with given weights in constant time: the alias method of A.
// J. Walker.
type weighted struct {
	keep  []float64 // probability of staying in a column
	alias []int32   // where to go otherwise
}

func newWeighted(weights []float64) *weighted {
	n := len(weights)
	var sum float64
	for _, w := range weights {
		sum += w
	}
	d := &weighted{make([]float64, n), make([]int32, n)}
	scaled := make([]float64, n)
	var small, large []int32
	for i, w := range weights {
		scaled[i] = w * float64(n) / sum
		if scaled[i] < 1 {
			small = append(small, int32(i))
		} else {
			large = append(large, int32(i))
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		d.keep[s], d.alias[s] = scaled[s], l
		scaled[l] -= 1 - scaled[s]
		if scaled[l] < 1 {
			large = large[:len(large)-1]
			small = append(small, l)
		}
	}
	for _, i := range append(small, large...) {
		d.keep[i], d.alias[i] = 1, i
	}
	return d
}

func (d *weighted) draw(r *rand.Rand) int {
	i := r.IntN(len(d.keep))
	if r.Float64() < d.keep[i] {
		return i
	}
	return int(d.alias[i])
}

// newZipf draws numbers from 0 to n-1 with the frequencies of words in natural text: Zipf's law as
// corrected by Mandelbrot.
func newZipf(n int) *weighted {
	weights := make([]float64, n)
	for i := range weights {
		weights[i] = math.Pow(float64(i)+2.7, -1)
	}
	return newWeighted(weights)
}

// english are the frequencies of the letters a to z, in percent.
var english = []float64{8.2, 1.5, 2.8, 4.3, 12.7, 2.2, 2, 6.1, 7, 0.15, 0.77, 4, 2.4, 6.7, 7.5, 1.9, 0.1, 6, 6.3, 9.1, 2.8, 0.98, 2.4, 0.15, 2, 0.07}

// vocabulary returns n distinct words of 2 to 11 letters. Early words are shorter, as frequent
// words are in natural text.
func vocabulary(n int, r *rand.Rand) []string {
	letters := newWeighted(english)
	seen := make(map[string]bool, n)
	words := make([]string, 0, n)
	for len(words) < n {
		shortest := 2 + int(math.Log2(float64(len(words)+2))/3.2)
		word := make([]byte, shortest+r.IntN(5))
		for i := range word {
			word[i] = byte('a' + letters.draw(r))
		}
		if s := string(word); !seen[s] {
			seen[s] = true
			words = append(words, s)
		}
	}
	return words
}

// textSet is text of 500,000 distinct words, 10 to 15 of them in a line.
type textSet struct {
	words     []string
	frequency *weighted
}

func newText() *textSet {
	words := vocabulary(500_000, stream(1))
	return &textSet{words, newZipf(len(words))}
}

// write writes whole lines of a part until there are at least size bytes.
func (t *textSet) write(w io.Writer, part, size int) error {
	r := stream(100 + uint64(part))
	var line []byte
	for written := 0; written < size; written += len(line) {
		line = line[:0]
		for range 10 + r.IntN(6) {
			line = append(append(line, t.words[t.frequency.draw(r)]...), ' ')
		}
		line[len(line)-1] = '\n'
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	return nil
}
