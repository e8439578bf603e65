// SPDX-License-Identifier: LGPL-3.0-or-later

package top

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/rivo/uniseg"
)

// Style of text. The screen maps it to the terminal's own colours, which its user chose for its background.
type Style int

// Styles.
const (
	Plain Style = iota
	Bold
	Dim
	Sun   // state that is here, time of execution
	Wait  // time that peers took
	Guess // time of speculation
	Good
	Bad
)

// Span is text in one style.
type Span struct {
	Text  string
	Style Style
}

// Line is what stands in one line of the terminal.
type Line []Span

// String is the line without styles.
func (l Line) String() string {
	var b strings.Builder
	for _, s := range l {
		b.WriteString(s.Text)
	}
	return b.String()
}

func line(spans ...Span) Line { return spans }

func text(style Style, format string, args ...any) Span {
	return Span{fmt.Sprintf(format, args...), style}
}

// cut shortens text to a width in cells, with a mark that it does.
func cut(s string, width int) string {
	if uniseg.StringWidth(s) <= width {
		return s
	}
	var b strings.Builder
	left := width - 1 // for the mark
	for state := -1; s != "" && left >= 0; {
		var cluster string
		var cells int
		if cluster, s, cells, state = uniseg.FirstGraphemeClusterInString(s, state); cells > left {
			break
		}
		b.WriteString(cluster)
		left -= cells
	}
	if width > 0 {
		b.WriteString("…")
	}
	return b.String()
}

// within cuts a line to a width.
func (l Line) within(width int) (short Line) {
	for _, s := range l {
		s.Text = cut(s.Text, width)
		width -= uniseg.StringWidth(s.Text)
		if s.Text != "" {
			short = append(short, s)
		}
	}
	return short
}

// wrap breaks text into lines at its spaces.
func wrap(style Style, s string, width int) (lines []Line) {
	rest := ""
	for _, word := range strings.Fields(s) {
		switch {
		case rest == "":
			rest = word
		case uniseg.StringWidth(rest)+1+uniseg.StringWidth(word) <= width:
			rest += " " + word
		default:
			lines = append(lines, line(Span{rest, style}))
			rest = word
		}
	}
	return append(lines, line(Span{rest, style}))
}

// clean makes text printable characters on one line.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsPrint(r):
			return r
		case unicode.IsSpace(r):
			return ' '
		}
		return '?'
	}, s)
}

// count writes a number with its thousands apart.
func count[N ~int | ~uint64 | ~float64](n N) string {
	digits := strconv.FormatFloat(float64(n), 'f', 0, 64)
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}

// plural writes a number of things.
func plural[N ~int | ~uint64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return count(n) + " " + thing + "s"
}

// size writes bytes.
func size[N ~uint64 | ~float64](n N) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	value, unit := float64(n), 0
	for value >= 1000 && unit < len(units)-1 {
		value, unit = value/1000, unit+1
	}
	if unit == 0 || value >= 100 {
		return fmt.Sprintf("%.0f %s", value, units[unit])
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}

// span writes seconds in the unit that suits them.
func span(seconds float64) string {
	switch {
	case seconds < 90:
		return fmt.Sprintf("%.0f s", seconds)
	case seconds < 5400:
		return fmt.Sprintf("%.0f min", seconds/60)
	case seconds < 172800:
		return fmt.Sprintf("%.1f h", seconds/3600)
	}
	return fmt.Sprintf("%.1f days", seconds/86400)
}
