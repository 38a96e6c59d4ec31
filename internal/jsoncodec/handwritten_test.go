package jsoncodec

import (
	"bytes"
	"unsafe"
)

// handwritten is what one would write for this one type: no tables, no checks beyond what the scan
// needs, jump to the end of the line after the fifth field. It is the measure for the decoder.
func handwritten(line []byte, w *wanted) bool {
	number := func(i, places int) (n int64, end int) {
		seen := -1
		for ; ; i++ {
			switch c := line[i]; {
			case c-'0' <= 9:
				n = n*10 + int64(c-'0')
				if seen >= 0 {
					seen++
				}
			case c == '.':
				seen = 0
			default:
				for seen = max(seen, 0); seen < places; seen++ {
					n *= 10
				}
				return n, i
			}
		}
	}
	for i, found := 1, 0; found < 5; i++ { // at a key, behind the brace or a comma
		n := bytes.IndexByte(line[i+1:], '"')
		if n < 0 {
			return false
		}
		key := line[i+1 : i+1+n]
		i += n + 3
		if line[i] == '"' {
			start := i + 1
			for i = start; line[i] != '"'; i++ {
				if j := bytes.IndexByte(line[i:], '"'); line[i+j-1] != '\\' {
					i += j - 1
				} else {
					i += j
				}
			}
			switch string(key) {
			case "brand":
				w.Brand = unsafe.String(&line[start], i-start)
				found++
			case "category":
				w.Category = unsafe.String(&line[start], i-start)
				found++
			}
			i++
			continue
		}
		switch string(key) {
		case "price":
			w.Price, i = number(i, 2)
			found++
		case "stock":
			w.Stock, i = number(i, 0)
			found++
		case "rating":
			w.Rating, i = number(i, 1)
			found++
		default:
			i += bytes.IndexByte(line[i:], ',')
		}
	}
	return true
}
