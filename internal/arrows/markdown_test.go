package arrows

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

const (
	maxSentence = 30 // words
	maxCell     = 40 // words of one table cell
)

var (
	// link matches a Markdown link, whose target is not read aloud.
	link = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	// code matches a span of code, which counts as one word.
	code = regexp.MustCompile("`[^`]*`")
	// end matches the end of a sentence.
	end = regexp.MustCompile(`[.!?](?:\s|$)`)
	// item matches the first line of a list item.
	item = regexp.MustCompile(`^\s*([-*]|\d+\.)\s`)
)

// faults returns what is wrong with the English of a Markdown text, by line.
func faults(text string) (out []string) {
	var paragraph []string
	start := 0
	flush := func() {
		whole := strings.Join(paragraph, " ")
		whole = code.ReplaceAllString(link.ReplaceAllString(whole, "$1"), "code")
		for _, sentence := range end.Split(whole, -1) {
			if n := len(strings.Fields(sentence)); n > maxSentence {
				out = append(out, fmt.Sprintf("line %d: a sentence of %d words, at most %d: %.60s…", start, n, maxSentence, strings.TrimSpace(sentence)))
			}
		}
		paragraph = nil
	}
	fenced := false
	for k, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, "```") {
			fenced = !fenced
			flush()
			continue
		}
		switch {
		case fenced:
		case strings.HasPrefix(trimmed, "|"):
			flush()
			for cell := range strings.SplitSeq(trimmed, "|") {
				if n := len(strings.Fields(cell)); n > maxCell {
					out = append(out, fmt.Sprintf("line %d: a table cell of %d words, at most %d: put the text below the table", k+1, n, maxCell))
				}
			}
		case trimmed == "" || strings.HasPrefix(trimmed, "#"):
			flush()
		default:
			if item.MatchString(line) {
				flush()
			}
			if len(paragraph) == 0 {
				start = k + 1
			}
			paragraph = append(paragraph, trimmed)
			if n := columns(line); n > width && strings.Contains(trimmed, " ") {
				out = append(out, fmt.Sprintf("line %d: %d columns wide: wrap it at %d", k+1, n, width))
			}
		}
	}
	flush()
	return out
}

func TestFaults(t *testing.T) {
	long := strings.Repeat("word ", 31)
	tests := []struct {
		text string
		want int
	}{
		{"A short sentence. Another one.", 0},
		{strings.ReplaceAll(long, "word word word ", "word word\nword ") + ".", 1},
		{strings.Repeat("Six short words are in here. ", 3), 0},
		{strings.Repeat("wide ", 21), 1},
		{"```\n" + long + "\n```", 0},
		{"| a | " + long + " |", 0},
		{"| a | " + strings.Repeat("word ", 41) + " |", 1},
		{"- " + strings.Repeat("word\n  ", 20) + "\n- " + strings.Repeat("word\n  ", 20), 0},
	}
	for _, tt := range tests {
		if got := faults(tt.text); len(got) != tt.want {
			t.Errorf("faults(%.30q) = %q, want %d", tt.text, got, tt.want)
		}
	}
}
