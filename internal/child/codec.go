package child

import (
	"fmt"
	"sync"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/layshaft/layshaft/internal/record"
)

// dataField is the number of the field data in RunRequest and RunResponse.
const dataField = 15

// outgoing is a message whose data is sent without a copy.
type outgoing struct {
	proto.Message
	data mem.BufferSlice
}

// incoming is a message whose data aliases the received memory.
type incoming struct {
	proto.Message
	data []byte
	// buf is the memory for the next message. If nil, each message gets new memory that is never
	// reused.
	buf []byte
}

// codec is protobuf's encoding without copies of data.
type codec struct{}

var _ encoding.CodecV2 = codec{}

func (codec) Name() string { return "proto" }

func (codec) Marshal(v any) (mem.BufferSlice, error) {
	switch v := v.(type) {
	case *outgoing:
		head, err := proto.Marshal(v.Message)
		if err != nil {
			v.data.Free()
			return nil, err
		}
		if n := v.data.Len(); n > 0 {
			head = protowire.AppendTag(head, dataField, protowire.BytesType)
			head = protowire.AppendVarint(head, uint64(n))
		}
		return append(mem.BufferSlice{mem.SliceBuffer(head)}, v.data...), nil
	case proto.Message:
		b, err := proto.Marshal(v)
		return mem.BufferSlice{mem.SliceBuffer(b)}, err
	}
	return nil, fmt.Errorf("cannot encode a %T", v)
}

func (codec) Unmarshal(from mem.BufferSlice, v any) error {
	switch v := v.(type) {
	case *incoming:
		n := from.Len()
		b := v.buf
		if b == nil {
			b = record.Uninitialized(n)
		} else if cap(b) < n {
			b = record.Uninitialized(n)
			v.buf = b
		}
		b = b[:n]
		from.CopyTo(b)
		head, data, err := cutData(b)
		if err != nil {
			return err
		}
		v.data = data
		return proto.Unmarshal(head, v.Message)
	case proto.Message:
		return proto.Unmarshal(from.Materialize(), v)
	}
	return fmt.Errorf("cannot decode into a %T", v)
}

// cutData splits an encoded message into its data and the rest.
func cutData(b []byte) (head, data []byte, err error) {
	for at := 0; at < len(b); {
		field, kind, n := protowire.ConsumeTag(b[at:])
		if n < 0 {
			return nil, nil, protowire.ParseError(n)
		}
		value := at + n
		if n = protowire.ConsumeFieldValue(field, kind, b[value:]); n < 0 {
			return nil, nil, protowire.ParseError(n)
		}
		if field == dataField && kind == protowire.BytesType {
			data, _ = protowire.ConsumeBytes(b[value:])
			if at == 0 {
				return b[value+n:], data, nil
			}
			return append(b[:at:at], b[value+n:]...), data, nil
		}
		at = value + n
	}
	return b, nil, nil
}

// batches is a pool of buffers of batch bytes, for outgoing data.
type batches struct{ pool sync.Pool }

func (p *batches) Get(int) *[]byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return b
	}
	b := record.Uninitialized(batch)
	return &b
}

func (p *batches) Put(b *[]byte) {
	*b = (*b)[:batch]
	p.pool.Put(b)
}
