package vet_test

import (
	"testing"

	"golang.org/x/tools/go/analysis/analysistest"

	"github.com/layshaft/layshaft/mapreduce/vet"
)

// TestAnalyzer compares the reports about a program with its comments.
func TestAnalyzer(t *testing.T) {
	analysistest.Run(t, analysistest.TestData(), vet.Analyzer, "a")
}
