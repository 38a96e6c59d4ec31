package flame

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/pprof/profile"
)

// profileOf returns an encoded profile: each sample is a stack from the callee up, with the label
// attempt.
func profileOf(t *testing.T, attempt string, nanos int64, stack ...string) []byte {
	t.Helper()
	p := &profile.Profile{SampleType: []*profile.ValueType{{Type: "samples", Unit: "count"}, {Type: "cpu", Unit: "nanoseconds"}},
		PeriodType: &profile.ValueType{Type: "cpu", Unit: "nanoseconds"}, Period: 1}
	s := &profile.Sample{Value: []int64{1, nanos}}
	if attempt != "" {
		s.Label = map[string][]string{"attempt": {attempt}}
	}
	for i, name := range stack {
		f := &profile.Function{ID: uint64(i + 1), Name: name}
		l := &profile.Location{ID: uint64(i + 1), Line: []profile.Line{{Function: f}}}
		p.Function, p.Location, s.Location = append(p.Function, f), append(p.Location, l), append(s.Location, l)
	}
	p.Sample = []*profile.Sample{s}
	var b bytes.Buffer
	if err := p.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Profiles of several attempts merge, fall apart by stage, and are drawn with hostile names as text.
func TestFlame(t *testing.T) {
	t.Parallel()
	evil := "main.<script>alert(1)</script>\u202e"
	all, err := Merge("j", profileOf(t, "0/1#1", 3e9, evil, "main.main"), profileOf(t, "0/2#1", 1e9, "main.other", "main.main"), profileOf(t, "1/0#2", 5e9, "main.reduce"), profileOf(t, "", 1e9, "runtime.gc"))
	if err != nil {
		t.Fatal(err)
	}
	parts := ByStage(all)
	if len(parts) != 3 || len(parts[0].Sample) != 2 || len(parts[1].Sample) != 1 || len(parts[-1].Sample) != 1 || len(parts[1].Function) != 1 {
		t.Fatalf("parts %v", parts)
	}
	if l := parts[1].Sample[0].Label; l["job"][0] != "j" || l["stage"][0] != "1" || l["task"][0] != "1/0" {
		t.Errorf("labels %v", l)
	}
	var b bytes.Buffer
	if err := WriteHTML(&b, "run <b>", Graph{"stage 0", parts[0]}, Graph{"stage 1", parts[1]}); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, want := range []string{`stage 0: 4.00 s`, `: 3.00 s, 75.0 %`, `x="75.000%" y="36" width="25.000%"`, "main.other", `&lt;script&gt;`, `\xe2\x80\xae`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	graphs := Graphs(all, func(stage int) string { return []string{"read", "reduce"}[stage] })
	if len(graphs) != 3 || graphs[0].Title != "stage 0 read" || graphs[1].Title != "stage 1 reduce" || graphs[2].Title != "outside attempts" {
		t.Errorf("graphs %v", graphs)
	}
	// The policy allows the style, and elements have none of their own.
	_, css, _ := strings.Cut(page, "<style>")
	css, _, _ = strings.Cut(css, "</style>")
	if sum := sha256.Sum256([]byte(css)); !strings.Contains(Policy, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") || strings.Contains(page, "style=") {
		t.Errorf("the policy %s does not allow the style of the page", Policy)
	}
	if strings.Contains(page, "<script") || strings.Contains(page, "src=") || strings.Contains(page, "http:") {
		t.Error("the page has a script or refers to others")
	}
	if _, err := Merge("j", []byte("no profile")); err == nil {
		t.Error("Merge accepts what is no profile")
	}
}
