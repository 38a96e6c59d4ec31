package mapreduce_test

import (
	"iter"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

// TestNil checks that nil plans, functions, targets and jobs are errors, not crashes.
func TestNil(t *testing.T) {
	run := func(target mapreduce.Target, build func(p *mapreduce.Plan) mapreduce.Dataset[int]) error {
		_, err := mapreduce.Define("nil", func(p *mapreduce.Plan, _ struct{}) mapreduce.Dataset[int] { return build(p) }).Collect(t.Context(), target, struct{}{})
		return err
	}
	one := func(p *mapreduce.Plan) mapreduce.Dataset[int] { return mapreduce.Read(p, memio.Slice([]int{1})) }
	for want, err := range map[string]error{
		"Output: its plan is nil": run(mapreduce.Local{}, func(p *mapreduce.Plan) mapreduce.Dataset[int] {
			mapreduce.Output(nil, "a", one(p))
			return one(p)
		}),
		"memio.Seq(int): its function is nil": run(mapreduce.Local{}, func(p *mapreduce.Plan) mapreduce.Dataset[int] {
			return mapreduce.Read(p, memio.Seq((func() iter.Seq[int])(nil)))
		}),
		"memio.Generate(3 of int): its function is nil": run(mapreduce.Local{}, func(p *mapreduce.Plan) mapreduce.Dataset[int] {
			return mapreduce.Read(p, memio.Generate[int](3, nil))
		}),
		"the *TargetFlags is nil": run((*mapreduce.TargetFlags)(nil), one),
		"the job is nil": func() (err error) {
			for _, err = range mapreduce.Rows[int](nil, "") {
			}
			return err
		}(),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
