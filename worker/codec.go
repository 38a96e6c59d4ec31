package worker

import (
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec for encoding.GetCodecV2
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// pieceCodec is gRPC's protobuf codec with fewer copies of the bytes of a ReadOutputResponse:
// none to send them, one to receive them. The encoding is the same. Both ends take buffers from
// pieceBuffers. Sent buffers return by themselves; the reader returns received ones.
type pieceCodec struct{ encoding.CodecV2 }

func newPieceCodec() pieceCodec { return pieceCodec{encoding.GetCodecV2("proto")} }

// pieceBuffers are buffers for pieces of outputs, with arbitrary content. Allocating them anew
// costs more than the rest of a call.
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

// Put takes back an unused buffer.
func (p *bufferPool) Put(b *[]byte) {
	if cap(*b) >= wire.PieceSize {
		p.buffers.Put(b)
	}
}

// dataField is the field number of ReadOutputResponse.data.
const dataField = 1

// Marshal encodes a message. It takes the data of a ReadOutputResponse away from it.
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

// Unmarshal decodes a ReadOutputResponse whose one field appears once without further copies, and
// other messages as usual.
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
