package mapreduce

import (
	"cmp"
	"context"
	"slices"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/order"
)

// program returns the stages as functions for the worker.
func (c *compiled) program(spec *job.Spec, sh *shared) *job.Program {
	p := &job.Program{Tolerates: c.plan.allowsBad()}
	for _, s := range c.stages {
		p.Stages = append(p.Stages, func(ctx context.Context, run *job.Run) error {
			return c.attempt(ctx, s, spec, sh, run)
		})
	}
	return p
}

// jobID returns the ID of a job. hash is the hash of its identity.
func jobID(name, hash string) job.ID { return job.ID(name + "-" + hash[:12]) }

// spec returns the job as data.
func (c *compiled) spec(name, hash string, params []byte, splits map[*stage][]job.Split, t settings) *job.Spec {
	sp := &job.Spec{ID: jobID(name, hash), Name: name, Hash: hash, Params: params, Plan: c.fingerprint(), Requeue: t.requeue.encode(), Memory: t.Memory / int64(t.Slots)}
	if t.cluster != nil && t.Profile != "" {
		sp.Profile = absolute(t.Profile)
	}
	for i, s := range c.stages {
		st := job.Stage{Name: s.label, Places: s.places, Inputs: s.edges, MaxAttempts: s.opts.retry, Timeout: s.opts.timeout, Combine: s.combine, Needs: s.needs()}
		if s.combine {
			groups := t.Workers
			if s.zoned {
				groups = t.zones
			}
			reduce := c.stages[i+slices.IndexFunc(c.stages[i:], func(s *stage) bool { return !s.combine })]
			// As many tasks as a reduce of the same input would have, if there are slots for them.
			st.Slices = max(1, int(min(c.input(splits)/int64(groups)/reduceBytes, int64(c.tasks(reduce, splits)), int64(t.Slots/groups))))
			st.Tasks = groups * st.Slices
		} else {
			st.Splits, st.Tasks = splits[s], c.tasks(s, splits)
		}
		sp.Stages = append(sp.Stages, st)
	}
	return sp
}

// withoutFunctions returns the options of a combine or publish stage, which calls no operator
// functions.
func (o options) withoutFunctions() options {
	o.needs = nil
	return o
}

// needs returns the budgets that each attempt of the stage holds, in order of their names.
func (s *stage) needs() []job.Need {
	needs := slices.Clone(s.opts.needs)
	order.Sort(needs, func(a, b *job.Need) int { return cmp.Compare(a.Budget, b.Budget) })
	return needs
}

// tasks returns the number of tasks of a stage that is not a combine stage.
func (c *compiled) tasks(s *stage, splits map[*stage][]job.Split) int {
	input := c.input(splits)
	switch {
	case s.publish:
		return 1
	case s.head.read != nil:
		return len(splits[s])
	case s.head.keptParts > 0:
		return s.head.keptParts
	case s.head.wide.parts > 0:
		return s.head.wide.parts
	case s.head.opts.parallel > 0:
		return s.head.opts.parallel
	case c.plan.opts.parallel > 0: // given to Define
		return c.plan.opts.parallel
	case s.head.wide.ranged:
		return evenPartitions(input, 128<<20)
	}
	return evenPartitions(input, reduceBytes)
}

// reduceBytes is the number of input bytes of the job for each partition.
const reduceBytes = 256 << 20

// input returns the bytes of all splits.
func (*compiled) input(splits map[*stage][]job.Split) (input int64) {
	for _, l := range splits {
		for i := range l {
			input += l[i].Bytes
		}
	}
	return input
}

// evenPartitions returns a number of partitions, at most 4,096, for input in parts of about size
// bytes. It is a multiple of four, so that slots end at the same time if there are as many or half
// as many. It depends on the input alone, because the order of rows must not depend on the slots.
func evenPartitions(input, size int64) int {
	return int(min(max(1, (input+4*size-1)/(4*size)), 1024)) * 4
}
