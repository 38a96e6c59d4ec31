package scan

import "bytes"

// formatOfText guesses the format of a text from its content.
func formatOfText(s sample) string {
	text := bytes.TrimLeft(s.head, " \t\r\n")
	if len(text) > 0 && (text[0] == '{' || text[0] == '[') {
		return "json"
	}
	return "csv"
}
