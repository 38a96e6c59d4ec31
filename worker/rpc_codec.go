package worker

import (
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // what encoding.GetCodecV2 returns
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// pieceCodec is gRPC's codec of protobuf, but it neither copies the bytes of a ReadOutputResponse to send them, nor more than
// once to receive them. What is on the wire is the same. Both ends take the bytes from pieceBuffers: those that are sent go back by
// themselves, those that are received when their reader puts them there.
type pieceCodec struct{ encoding.CodecV2 }

func newPieceCodec() pieceCodec { return pieceCodec{encoding.GetCodecV2("proto")} }

// pieceBuffers are buffers for pieces of outputs, whose content is arbitrary: fresh memory costs more than all else here.
var pieceBuffers bufferPool

// bufferPool is a mem.BufferPool.
type bufferPool struct{ buffers sync.Pool }

// Get returns a buffer of n bytes.
func (p *bufferPool) Get(n int) *[]byte {
	if b, ok := p.buffers.Get().(*[]byte); ok && cap(*b) >= n {
		*b = (*b)[:n]
		return b
	}
	b := make([]byte, n, max(n, wire.PieceSize))
	return &b
}

// Put takes a buffer that nobody uses any more.
func (p *bufferPool) Put(b *[]byte) {
	if cap(*b) >= wire.PieceSize {
		p.buffers.Put(b)
	}
}

// dataField is the number of ReadOutputResponse.data.
const dataField = 1

// Marshal takes the bytes of a ReadOutputResponse away.
func (c pieceCodec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(*layshaftv1.ReadOutputResponse)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	head := protowire.AppendVarint(protowire.AppendTag(nil, dataField, protowire.BytesType), uint64(len(m.Data)))
	data := m.Data
	m.Data = nil
	return mem.BufferSlice{mem.SliceBuffer(head), mem.NewBuffer(&data, &pieceBuffers)}, nil
}

// Unmarshal reads a ReadOutputResponse that has its one field, once; others as any message.
func (c pieceCodec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*layshaftv1.ReadOutputResponse)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	var start [1 + 10]byte
	head := start[:data.CopyTo(start[:])]
	field, kind, n := protowire.ConsumeTag(head)
	if field != dataField || kind != protowire.BytesType {
		return c.CodecV2.Unmarshal(data, v)
	}
	size, k := protowire.ConsumeVarint(head[n:])
	if k < 0 || size != uint64(data.Len()-n-k) {
		return c.CodecV2.Unmarshal(data, v)
	}
	r := data.Reader()
	defer func() { _ = r.Close() }()
	m.Data = *pieceBuffers.Get(int(size))
	_, err := r.Discard(n + k)
	if err == nil {
		_, err = io.ReadFull(r, m.Data)
	}
	if err != nil {
		return fmt.Errorf("pieces of an output: %w", err)
	}
	return nil
}
