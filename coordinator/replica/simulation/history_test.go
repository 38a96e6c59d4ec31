package simulation

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// history is the readable story of a run.
type history struct {
	begin time.Time

	// mu guards the field below.
	mu    sync.Mutex
	lines []string
}

func newHistory() *history { return &history{begin: time.Now()} }

func (h *history) note(format string, args ...any) {
	line := fmt.Sprintf("%9.4f  ", time.Since(h.begin).Seconds()) + fmt.Sprintf(format, args...)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, line)
}

// writeTo writes the story.
func (h *history) writeTo(w io.Writer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, _ = io.WriteString(w, strings.Join(h.lines, "\n")+"\n")
}

// handler returns a log handler for the messages of a member.
func (h *history) handler(who string) slog.Handler { return lines{h, who} }

type lines struct {
	h   *history
	who string
}

func (l lines) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn || *raftFlag
}
func (l lines) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l lines) WithGroup(string) slog.Handler      { return l }

func (l lines) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&b, " %s=%.200v", a.Key, a.Value)
		return true
	})
	l.h.note("%s: %s%s", l.who, r.Message, b.String())
	return nil
}
