package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// events returns random events, and files of them with the header that each file has.
func events(t *testing.T, users int) ([]event, []string) {
	r := rand.New(rand.NewPCG(5, 0))
	var all []event
	var files []string
	for f := range 3 {
		var text strings.Builder
		text.WriteString("id,user,amount\n")
		for range 20_000 {
			e := event{r.Int64N(30_000), r.Int64N(int64(users)), r.Int64N(1000)}
			all = append(all, e)
			fmt.Fprintf(&text, "%d,%d,%d\n", e.id, e.user, e.amount)
		}
		files = append(files, write(t, fmt.Sprint(f), strings.TrimSuffix(text.String(), "\n")))
	}
	return all, files
}

func TestChain(t *testing.T) {
	all, files := events(t, 10)
	sums := map[int64]int64{}
	for _, e := range all {
		k := e.id
		for i := range int64(8) {
			k = (k*48271 + i) % 15_485_863
		}
		sums[k%1000] += e.amount
	}
	var lines []string
	for k := range int64(1000) {
		lines = append(lines, fmt.Sprintf("%d\t%d", k, sums[k]))
	}
	out := t.TempDir()
	if err := chain(out, files); err != nil {
		t.Fatal(err)
	}
	compareLines(t, out, lines)
}

func TestSkewJoin(t *testing.T) {
	all, files := events(t, 700)
	users, n, amounts := "user,country\n", map[string]int{}, map[string]int64{}
	for user := range 600 { // events of the others join with nothing
		users += fmt.Sprintf("%d,c%d\n", user, user*user%31)
	}
	for _, e := range all {
		if e.user < 600 {
			c := fmt.Sprint("c", e.user*e.user%31)
			n[c]++
			amounts[c] += e.amount
		}
	}
	var lines []string
	for c := range n {
		lines = append(lines, fmt.Sprintf("%s\t%d\t%d", c, n[c], amounts[c]))
	}
	out := t.TempDir()
	if err := skewJoin(out, append([]string{write(t, "users", users)}, files...)); err != nil {
		t.Fatal(err)
	}
	compareLines(t, out, lines)
	if err := skewJoin(t.TempDir(), []string{write(t, "users", "user,country\n1,c\n"), files[0]}); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("error %v for users that do not begin with 0, want the line", err)
	}
}

func TestCountDistinct(t *testing.T) {
	all, files := events(t, 10)
	ids := map[int64]bool{}
	for _, e := range all {
		ids[e.id] = true
	}
	out := t.TempDir()
	if err := countDistinct(out, files); err != nil {
		t.Fatal(err)
	}
	compareLines(t, out, []string{fmt.Sprint(len(ids))})
}

func TestRepeats(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 0))
	for _, length := range []int{0, 16, 1000} {
		counts := map[string]int{}
		var text strings.Builder
		for range 3000 {
			line := fmt.Sprint(strings.Repeat("x", length), r.IntN(2000))
			line = line[max(0, len(line)-max(length, 4)):]
			counts[line]++
			text.WriteString(line + "\n")
		}
		lines := map[int]int{}
		for n := range maps.Values(counts) {
			lines[n]++
		}
		var want []string
		for _, n := range slices.Sorted(maps.Keys(lines)) {
			want = append(want, fmt.Sprintf("%d\t%d", n, lines[n]))
		}
		out := t.TempDir()
		if err := repeats(out, []string{write(t, "in", strings.TrimSuffix(text.String(), "\n"))}); err != nil {
			t.Fatal(err)
		}
		compareLines(t, out, want)
	}
}

func TestW2CSV(t *testing.T) {
	in, path := rows(t)
	var text strings.Builder
	text.WriteString("id,sku,title,brand,category,price,currency,stock,rating,attributes,updated_at\n")
	for i, p := range in {
		fmt.Fprintf(&text, "%d,%s,\"27\"\", %d\"\"\",%s,%s,%.2f,EUR,%d,%.1f,\"a=b;c=d\",2024\n", i, p.SKU, i, p.Brand, p.Category, p.Price, p.Stock, p.Rating)
	}
	fromJSON, fromCSV := t.TempDir(), t.TempDir()
	if err := w2(fromJSON, []string{path}); err != nil {
		t.Fatal(err)
	}
	if err := w2CSV(fromCSV, []string{write(t, "csv", text.String())}); err != nil {
		t.Fatal(err)
	}
	compareLines(t, fromCSV, strings.Split(strings.TrimSuffix(read(t, fromJSON), "\n"), "\n"))
}
