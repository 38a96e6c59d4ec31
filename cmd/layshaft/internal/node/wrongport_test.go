package node

import (
	"strings"
	"testing"
)

func TestWrongPortAnswer(t *testing.T) {
	for head, want := range map[string]string{
		"GET / HTTP/1.1\r\nHost: c1:7070\r\n\r\n": "HTTP/1.1 400 Bad Request\r\n",
		"\x00REQ\x00\x00\x00\x0b\x00\x00\x00\x00": "\x00RES\x00\x00\x00\x13",
		"status\n":                         "ERR WRONG_PORT ",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": "",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n": "",
		"": "",
	} {
		if got := wrongPortAnswer(head); (got == "") != (want == "") || !strings.HasPrefix(got, want) {
			t.Errorf("%q is answered with %q, want %q", head, got, want)
		}
	}
}
