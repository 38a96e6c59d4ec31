//go:build !race

package sched

const seeds = 1500
