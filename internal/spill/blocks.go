package spill

import (
	"encoding/binary"
	"fmt"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
)

// BlockSize is the size at which a block of records is output, in bytes before compression.
const BlockSize = 64 << 10

// maxRecord is the largest size of key and value together in a block, in bytes.
const maxRecord = record.MaxFrame - 2*binary.MaxVarintLen64

// Fits returns a *job.Failure with key and size if the record is too large for a block.
func Fits(key []byte, value int) error {
	if n := len(key) + value; n > maxRecord {
		return &job.Failure{Kind: job.Fatal, Message: fmt.Sprintf("record of %d bytes under key %.60q: at most %d bytes can be moved or gathered; keep large values in files and pass their names, or use smaller accumulators", n, key, maxRecord)}
	}
	return nil
}

// Append outputs one block of whole records of partition part of run number run. first is the key
// of the first record. The caller may reuse block and first afterwards. It is job.Output.Append for
// one port.
type Append func(run, part int, block []byte, records int, first []byte) error

// packer collects records into blocks.
type packer struct {
	output Append
	run    int
	part   int
	n      int
	buf    []byte
	first  []byte
}

func (p *packer) add(key, value []byte) error {
	if len(key)+len(value) > BlockSize { // it gets a block of its own
		if err := Fits(key, len(value)); err != nil {
			return err
		}
		if err := p.flush(); err != nil {
			return err
		}
	}
	if p.n == 0 {
		if p.first == nil {
			p.first = make([]byte, 0, 64) // so that an empty first key is not nil
		}
		p.first = append(p.first[:0], key...)
	}
	p.buf = record.AppendRecord(p.buf, key, value)
	p.n++
	if len(p.buf) >= BlockSize {
		return p.flush()
	}
	return nil
}

func (p *packer) flush() error {
	if p.n == 0 {
		return nil
	}
	err := p.output(p.run, p.part, p.buf, p.n, p.first)
	p.buf, p.n = p.buf[:0], 0
	return err
}

// setPartition changes to another partition of the same run.
func (p *packer) setPartition(part int) error {
	if part == p.part {
		return nil
	}
	err := p.flush()
	p.part = part
	return err
}

// Packer packs records that need no sorting into blocks of one partition, in the given order.
type Packer struct{ p packer }

// NewPacker returns a Packer of run 0, partition part.
func NewPacker(to Append, part int) *Packer { return &Packer{packer{output: to, part: part}} }

// Add adds one record.
func (p *Packer) Add(key, value []byte) error { return p.p.add(key, value) }

// Flush outputs the remaining records.
func (p *Packer) Flush() error { return p.p.flush() }
