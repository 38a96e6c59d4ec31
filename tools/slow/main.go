// Command slow reads the output of `go test -json` and prints the packages and tests that took
// longest. Tests that run in parallel count from their start, so their times overlap.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
)

// event is the part of a test event that this program reads. See `go doc test2json`.
type event struct {
	Action  string
	Package string
	Test    string
	Elapsed float64 // seconds
}

func main() {
	n := flag.Int("n", 5, "`NUMBER` of packages and of tests to print")
	flag.Parse()
	var packages, tests []event
	failed := false
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 16<<20)
	for in.Scan() {
		var e event
		if json.Unmarshal(in.Bytes(), &e) != nil || e.Action != "pass" && e.Action != "fail" {
			continue
		}
		failed = failed || e.Action == "fail"
		switch {
		case e.Test == "":
			packages = append(packages, e)
		case !strings.Contains(e.Test, "/"):
			tests = append(tests, e)
		}
	}
	if err := in.Err(); err != nil {
		fmt.Fprintln(os.Stderr, "slow:", err)
		os.Exit(1)
	}
	for _, list := range [][]event{packages, tests} {
		slices.SortFunc(list, func(a, b event) int { return cmp.Compare(b.Elapsed, a.Elapsed) })
		for _, e := range list[:min(*n, len(list))] {
			fmt.Printf("%7.1f s  %s %s\n", e.Elapsed, e.Package, e.Test)
		}
		fmt.Println()
	}
	if failed {
		fmt.Fprintln(os.Stderr, "slow: some tests failed; run go test to see them")
		os.Exit(1)
	}
}
