package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/bench/internal/compare"
)

func TestChoose(t *testing.T) {
	const all = "w1 w2 w3 w5 startup chain skewjoin longkeys manykeys countdistinct tiny w2-csv w2-parquet chain-dev w1-dev w2-dev w3-dev w5-dev w2-sql w2-sql-csv w2-sql-parquet w5-sql groups distinct sort dev first-row"
	tests := []struct{ args, want string }{ // no names wanted: an error
		{"all", all},
		{"w3 w1", "w1 w3"},
		{"w5 all", all},
		{"startup startup", "startup"},
		{"sort reports w1", strings.Replace(all, "w2 w3 w5 startup chain skewjoin longkeys manykeys countdistinct tiny w2-csv w2-parquet chain-dev w1-dev w2-dev w3-dev w5-dev ", "", 1)},
		{"works", "chain skewjoin longkeys manykeys countdistinct tiny w2-csv w2-parquet chain-dev w1-dev w2-dev w3-dev w5-dev"},
		{"", ""},
		{"w1 w4", ""},
	}
	for _, test := range tests {
		chosen, err := choose(strings.Fields(test.args))
		var got []string
		for _, work := range chosen {
			got = append(got, work.name)
		}
		if strings.Join(got, " ") != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%q: %v, %v; want %q", test.args, got, err, test.want)
		}
	}
}

func TestSlower(t *testing.T) {
	result := func(ms ...int) (r compare.Result) {
		for _, n := range ms {
			d := time.Duration(n) * time.Millisecond
			r.Runs = append(r.Runs, compare.Run{Wall: d, CPU: 2 * d})
		}
		return r
	}
	tests := []struct {
		before, after compare.Result
		want          bool
	}{
		{result(100, 100, 100, 100), result(104, 104, 104, 104), false}, // within the limit
		{result(100, 100, 100, 100), result(106, 107, 108, 99), true},
		{result(100, 100, 100, 100), result(90, 99, 150, 150), false}, // noise: half of the rounds
		{result(100, 150, 100, 150), result(110, 165, 110, 165), true},
	}
	for _, test := range tests {
		if got := slower([]compare.Result{test.before, test.after}, 0.05); (got != "") != test.want {
			t.Errorf("%v, %v: %q, want slower: %v", test.before.Runs, test.after.Runs, got, test.want)
		}
	}
}

func TestInput(t *testing.T) {
	set := t.TempDir()
	work := workload{set: "s", files: []string{"overrides.csv", "jsonl/*.jsonl"}}
	if _, err := work.input(set, ""); err == nil || !strings.Contains(err.Error(), doneMark) {
		t.Errorf("error %v for a set without files, want one that tells how to make it again", err)
	}
	if err := os.Mkdir(filepath.Join(set, "jsonl"), 0o755); err != nil {
		t.Fatal(err)
	}
	// The overrides come first in the arguments, whatever their name.
	want := []string{"overrides.csv", "jsonl/a.jsonl", "jsonl/b.jsonl"}
	for i, name := range want {
		want[i] = filepath.Join(set, name)
		if err := os.WriteFile(want[i], make([]byte, 10), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	in, err := work.input(set, "")
	if err != nil || strings.Join(in.paths, " ") != strings.Join(want, " ") || in.bytes != 30 {
		t.Errorf("%v of %d bytes, %v; want %v of 30", in.paths, in.bytes, err, want)
	}
	in, err = workload{made: "x"}.input("", t.TempDir())
	if err != nil || len(in.paths) != 1 || in.bytes == 0 {
		t.Errorf("input of its own: %v, %v", in, err)
	}
}

func TestGenerateHonoursTheMark(t *testing.T) {
	data := t.TempDir()
	gen := filepath.Join(data, "gen")
	if err := os.WriteFile(gen, []byte("#!/bin/sh\nmkdir -p \"$2\" && echo x >>\"$2/$1\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	p := &programs{gen: gen}
	for range 2 {
		if err := p.generate(t.Context(), data, "text", 1); err != nil {
			t.Skip("no shell: ", err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(data, "text", "text")); err != nil || string(b) != "x\n" {
		t.Errorf("the set was made %d times, want once (%v)", len(b)/2, err)
	}
}
