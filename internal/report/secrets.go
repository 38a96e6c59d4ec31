package report

import (
	"bytes"
	"encoding/json"
	"regexp"
)

// hidden replaces a secret.
const hidden = "***"

var (
	// secretName matches names of parameters whose values nobody may see.
	secretName = regexp.MustCompile(`(?i)pass(word|wd|phrase)?$|secret|token|credential|api_?key|private_?key|access_?key|^auth`)
	// userInfo matches the password in a URL, and secretPair one in a connection string.
	userInfo   = regexp.MustCompile(`(://[^/\s:@]*:)[^@\s/]*@`)
	secretPair = regexp.MustCompile(`(?i)\b(password|passwd|pwd|secret|token|api_?key)(\s*=\s*)('[^']*'|[^\s&;,]+)`)
)

// MaskSecrets returns parameters in JSON without passwords, tokens and keys. It finds them by the
// names of the parameters, and in URLs and connection strings. Text that is not JSON is masked as a
// whole if it has any.
func MaskSecrets(params []byte) []byte {
	d := json.NewDecoder(bytes.NewReader(params))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return []byte(MaskText(string(params)))
	}
	out, err := json.Marshal(maskValue(v, false))
	if err != nil {
		return nil
	}
	return out
}

func maskValue(v any, secret bool) any {
	switch v := v.(type) {
	case map[string]any:
		for name, x := range v {
			v[name] = maskValue(x, secret || secretName.MatchString(name))
		}
	case []any:
		for i, x := range v {
			v[i] = maskValue(x, secret)
		}
	case string:
		if secret && v != "" {
			return hidden
		}
		return MaskText(v)
	case json.Number:
		if secret {
			return hidden
		}
	}
	return v
}

// MaskText returns text without the passwords in URLs and connection strings.
func MaskText(text string) string {
	return secretPair.ReplaceAllString(userInfo.ReplaceAllString(text, "${1}"+hidden+"@"), "${1}${2}"+hidden)
}
