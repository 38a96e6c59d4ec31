package taskwire

import (
	"encoding/json"
	"testing"

	"google.golang.org/protobuf/proto"

	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

func TestGatheredJSON(t *testing.T) {
	const failed, cancelled = tasksv1.TaskState_TASK_STATE_FAILED, tasksv1.TaskState_TASK_STATE_CANCELLED
	for _, tt := range []struct {
		in   *tasksv1.GatheredResult
		want string
	}{
		{&tasksv1.GatheredResult{Done: true, Task: 0x1a, Result: []byte(`{"a":"<b>","n":12345678901234567890}`)},
			`{"id":"1a","outcome":"done","encoding":"json","result":{"a":"<b>","n":12345678901234567890}}`},
		{&tasksv1.GatheredResult{Done: true, Task: 2}, `{"id":"2","outcome":"done","encoding":"json","result":null}`},
		{&tasksv1.GatheredResult{Done: true, Task: 3, Result: []byte("plain \"text\" & more\n")}, `{"id":"3","outcome":"done","encoding":"text","result":"plain \"text\" & more\n"}`},
		{&tasksv1.GatheredResult{Done: true, Task: 4, Result: []byte{0xff, 0, 1}}, `{"id":"4","outcome":"done","encoding":"base64","result":"/wAB"}`},
		{&tasksv1.GatheredResult{Task: 5, State: failed, Error: []byte("no\xff")}, `{"id":"5","outcome":"failed","error":"no` + "\uFFFD" + `"}`},
		{&tasksv1.GatheredResult{Task: 6, State: cancelled}, `{"id":"6","outcome":"cancelled","error":""}`},
	} {
		b, err := proto.Marshal(&tasksv1.GatheredResults{Results: []*tasksv1.GatheredResult{tt.in}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := GatheredJSON(b)
		if err != nil || string(got) != "["+tt.want+"]" || !json.Valid(got) {
			t.Errorf("%v: %s, %v, want [%s]", tt.in, got, err, tt.want)
		}
	}
	if got, err := GatheredJSON(nil); err != nil || string(got) != "[]" {
		t.Errorf("an empty group: %s, %v", got, err)
	}
	if _, err := GatheredJSON([]byte("\xff")); err == nil {
		t.Error("what is not encoded was taken")
	}
}
