package main

import (
	"net/url"
	"slices"

	"github.com/layshaft/layshaft/mapreduce/indexio"
)

// priceRanges are the ranges of the price facet, in their order on the page.
var priceRanges = []struct {
	Name     string
	Min, Max Cents // zero means no limit
}{{"under 10", 0, 10_00}, {"10 to 50", 10_00, 50_00}, {"50 to 200", 50_00, 200_00}, {"200 and more", 200_00, 0}}

func rangeOf(min, max Cents) (r indexio.Range) {
	if low := float64(min); min > 0 {
		r.Min = &low
	}
	if high := float64(max); max > 0 {
		r.Max = &high
	}
	return r
}

// sorts are the orders that the page offers.
var sorts = []struct{ Name, Field string }{{"best match", ""}, {"lowest price", "price"}, {"highest price", "-price"}, {"best rating", "-rating"}}

// option is one value of a facet. Link selects it, or removes it if it is chosen.
type option struct {
	Name, Link string
	N          int
	Chosen     bool
}

// options returns the values of a facet, the chosen ones first, even if no product has them.
func options(in url.Values, name string, counts []indexio.Count) (list []option) {
	n := map[string]int{}
	for _, c := range counts {
		n[c.Value] = c.N
	}
	for _, value := range in[name] {
		list = append(list, toggle(in, name, value, n[value]))
	}
	for _, c := range counts {
		if !slices.Contains(in[name], c.Value) {
			list = append(list, toggle(in, name, c.Value, c.N))
		}
	}
	return list
}

// toggle returns a value of a facet. Its link adds the value to the query, or removes it. Of the
// price ranges, one at a time is chosen.
func toggle(in url.Values, name, value string, n int) option {
	o := option{Name: value, N: n, Chosen: slices.Contains(in[name], value)}
	next := url.Values{}
	for key, values := range in {
		next[key] = slices.Clone(values)
	}
	next.Del("page")
	switch {
	case o.Chosen:
		next[name] = slices.DeleteFunc(next[name], func(v string) bool { return v == value })
	case name == "price":
		next.Set(name, value)
	default:
		next.Add(name, value)
	}
	o.Link = "/?" + next.Encode()
	return o
}

// link returns the query with one parameter changed, on the first page unless that is it.
func link(in url.Values, name, value string) string {
	next := url.Values{}
	for key, values := range in {
		next[key] = values
	}
	next.Del("page")
	next.Set(name, value)
	return "/?" + next.Encode()
}
