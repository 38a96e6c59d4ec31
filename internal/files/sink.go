package files

import (
	"context"
	"fmt"
	"time"
)

// Sink is the part of a sink that does not depend on the format of its records. Sinks embed it; its
// methods implement connector.Sink, connector.PlacedSink and connector.PublishedSink.
type Sink struct {
	name   string
	out    Output
	layout layout
}

// NewSink returns a Sink. name is the call that makes it, such as textio.Write("out").
func NewSink(name string, out Output) Sink { return Sink{name: name, out: out} }

// CompressSink returns a copy of s with codec c, for the method of a sink called method.
func CompressSink(s Sink, method string, c Codec) Sink {
	s.name, s.out = s.name+"."+method+"()", s.out.WithCodec(c)
	return s
}

// RenameSink returns a copy of s with another name, for the options of a sink.
func RenameSink(s Sink, name string) Sink {
	s.name = name
	return s
}

// CreateFile starts the file of one attempt, for sinks that encode records themselves.
func CreateFile(ctx context.Context, s Sink, t Task) (*Writer, error) { return s.out.Create(ctx, t) }

// OpenSink starts the output of one attempt. add appends an encoded record to dst. Each file begins
// with head, such as a row of column names; it may be nil.
func OpenSink[T any](ctx context.Context, s Sink, t Task, head []byte, add func(dst []byte, v *T) ([]byte, error)) (RecordWriter[T], error) {
	if s.layout.isPlain() {
		return NewAppender(ctx, s.out, t, head, add)
	}
	return OpenEncoded(ctx, s, t, 0, func(w *Writer) (Encoder[T], error) { return startAppender(w, head, add) })
}

// String returns the sink and its options, such as textio.Write("out").
func (s Sink) String() string { return s.name }

// Place returns the path of the output as given to the constructor.
func (s Sink) Place() string { return s.out.String() }

// Check creates the directory. It returns an error if the directory contains other files.
func (s Sink) Check(ctx context.Context) error {
	if err := s.layout.check(s.out); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return s.out.Check(ctx)
}

// Finish moves the files of the committed attempts to their final names.
func (s Sink) Finish(ctx context.Context, job string, parts [][]byte) error {
	return s.out.Finish(ctx, job, parts)
}

// Published reports whether the output of the job is still in place. ended is the time when the job
// ended.
func (s Sink) Published(ctx context.Context, job string, ended time.Time) (bool, error) {
	return s.out.Published(ctx, job, ended)
}

// Abandon removes the temporary files of the job.
func (s Sink) Abandon(ctx context.Context, job string) error { return s.out.Abandon(ctx, job) }
