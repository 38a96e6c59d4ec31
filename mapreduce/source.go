package mapreduce

import (
	"fmt"
	"slices"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

// jobSplits converts splits to the type of the engine. It passes err through.
func jobSplits(splits []connector.Split, err error) ([]job.Split, error) {
	if err != nil {
		return nil, err
	}
	converted := make([]job.Split, len(splits))
	for i, s := range splits {
		converted[i] = job.Split(s)
	}
	return converted, nil
}

// useBudget adds the needs of a source or sink to the node that reads or writes it.
func (n *node) useBudget(x any) {
	u, ok := x.(connector.BudgetUser)
	if !ok {
		return
	}
	name, amount, size := u.Budget()
	switch {
	case name == "":
	case amount < 1 || size < amount:
		n.refuse(fmt.Errorf("%v: each attempt needs %d of budget %s, which has %d; need 1 or more, and at most its size", x, amount, name, size))
	default:
		n.opts.needs = append(slices.Clip(n.opts.needs), job.Need{Budget: name, N: amount, Size: size})
	}
}
