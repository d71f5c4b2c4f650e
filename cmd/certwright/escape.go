package main

import (
	"fmt"
	"strings"
	"unicode"
)

// printable is text that cannot steer a terminal or forge a line: control
// characters, and the characters that turn the direction of text, stand as
// escapes such as \n and \u009b. Names and messages that a server sends pass
// through here before they reach a person.
func printable(text string) string {
	if strings.IndexFunc(text, unsafe) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case unsafe(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// printableLines is a text of lines, each printable.
func printableLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = printable(line)
	}
	return strings.Join(lines, "\n")
}

// unsafe runes: C0, DEL, C1, line and paragraph separators, and the bidirectional
// controls of Unicode.
func unsafe(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r)
}

// csvCell is text that no spreadsheet takes for a formula: a leading = + - @ gets
// an apostrophe before it, and control characters are escaped.
func csvCell(text string) string {
	text = printable(text)
	if text != "" && strings.ContainsRune("=+-@", rune(text[0])) {
		return "'" + text
	}
	return text
}

// jsonSafe escapes inside JSON strings what JSON itself allows raw and a terminal
// would obey: DEL, C1, bidirectional controls. The document keeps its meaning.
func jsonSafe(doc []byte) []byte {
	text := string(doc)
	bad := func(r rune) bool { return r >= 0x7f && unsafe(r) }
	if strings.IndexFunc(text, bad) < 0 {
		return doc
	}
	var b strings.Builder
	for _, r := range text {
		if bad(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return []byte(b.String())
}
