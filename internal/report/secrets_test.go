package report

import "testing"

func TestMaskSecrets(t *testing.T) {
	for in, want := range map[string]string{
		`{"Glob":"a.txt","Password":"x","N":12345678901234567890}`: `{"Glob":"a.txt","N":12345678901234567890,"Password":"***"}`,
		`{"pg":{"DSN":"postgres://ann:hunter2@db/x"},"PIN":4}`:     `{"PIN":4,"pg":{"DSN":"postgres://ann:***@db/x"}}`,
		`["host=db password='a b' user=x", {"api_key":["k",1]}]`:   `["host=db password=*** user=x",{"api_key":["***","***"]}]`,
		`not json password=x`: `not json password=***`,
		`null`:                `null`,
		`{"Tokens":{"a":"b"},"AccessKey":"","Keyboard":"qwerty"}`: `{"AccessKey":"","Keyboard":"qwerty","Tokens":{"a":"***"}}`,
	} {
		if got := string(MaskSecrets([]byte(in))); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", in, got, want)
		}
	}
}
