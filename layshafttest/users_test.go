package layshafttest_test

import "testing"

func TestExample(t *testing.T) {
	SquaresSurviveAWorker(t)
	SquaresSurviveChaos(t)
}
