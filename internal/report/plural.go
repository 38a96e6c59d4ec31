package report

import "fmt"

// Plural returns a count with its noun: "1 worker", "2 workers".
func Plural[N ~int | ~int64 | ~uint16 | ~uint64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
