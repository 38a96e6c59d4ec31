package worker

import (
	"bytes"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"

	"github.com/layshaft/layshaft/internal/job"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
	"github.com/layshaft/layshaft/worker/internal/shuffle"
)

// FuzzPieceCodec holds that the codec reads what protobuf reads.
func FuzzPieceCodec(f *testing.F) {
	f.Add([]byte{}, 3)
	f.Add([]byte{0x0a, 3, 'a', 'b', 'c'}, 1)
	f.Add([]byte{0x0a, 1, 'a', 0x0a, 2, 'b', 'c'}, 4)
	f.Add([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, 2)
	f.Add([]byte{0x10, 1}, 1)
	plain := encoding.GetCodecV2("proto")
	f.Fuzz(func(t *testing.T, data []byte, cut int) {
		in := mem.BufferSlice{mem.SliceBuffer(data)}
		if cut > 0 && cut < len(data) {
			in = mem.BufferSlice{mem.SliceBuffer(data[:cut]), mem.SliceBuffer(data[cut:])}
		}
		var got, want layshaftv1.ReadOutputResponse
		errGot, errWant := newPieceCodec().Unmarshal(in, &got), plain.Unmarshal(mem.BufferSlice{mem.SliceBuffer(data)}, &want)
		if (errGot == nil) != (errWant == nil) || errGot == nil && !bytes.Equal(got.Data, want.Data) {
			t.Fatalf("%q, %v; want %q, %v", got.Data, errGot, want.Data, errWant)
		}
		if errGot != nil {
			return
		}
		content := bytes.Clone(got.Data)
		out, err := newPieceCodec().Marshal(&got)
		if err != nil {
			t.Fatal(err)
		}
		var again layshaftv1.ReadOutputResponse
		if err := plain.Unmarshal(out, &again); err != nil || !bytes.Equal(again.Data, content) {
			t.Fatalf("%q, %v; want %q", again.Data, err, content)
		}
	})
}

// FuzzManifestFromPeer holds that no peer can make this worker fall over, or believe a manifest of
// another attempt.
func FuzzManifestFromPeer(f *testing.F) {
	m := &job.Manifest{Attempt: job.Attempt{Job: "j", N: 1}, Segment: "s", Extents: []job.Extent{{Bytes: 100, Records: 1, Raw: 100}}}
	f.Add(shuffle.AppendManifest(nil, m), 0, 0)
	f.Add([]byte{}, 1, 1)
	f.Fuzz(func(t *testing.T, data []byte, port, part int) {
		got, err := decodeManifest(m.Attempt, "", data)
		if err != nil {
			return
		}
		if got.Attempt != m.Attempt {
			t.Fatalf("manifest of %s", got.Attempt)
		}
		r := newRemote(&failing{code: codes.DataLoss}, "w", newManifestCache())
		for _, runs := range [][]job.RunReader{shuffle.Remote{Bytes: r.bytes}.Runs(got, port, part), shuffle.Remote{Bytes: r.bytes}.All(got, port),
			shuffle.Remote{Bytes: r.bytes}.Range(got, port, []byte("a"), nil)} {
			for _, run := range runs {
				if _, err := run.Next(); err == nil && run.Bytes() > 0 {
					t.Fatal("a block came from nowhere")
				}
				_ = run.Close()
			}
		}
	})
}
