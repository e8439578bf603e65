// SPDX-License-Identifier: LGPL-3.0-or-later

package top

import (
	"encoding/hex"
	"math/bits"
	"strings"
)

const (
	filled = "█"
	partly = "▒"
	empty  = "░"

	longest = 64 // cells of a bar or of a line of a map
)

// part is a share of a bar, 0 to 1.
type part struct {
	share float64
	style Style
}

// bar draws parts one after the other, and the rest empty.
func bar(width int, parts ...part) (b Line) {
	width = min(max(width, 0), longest)
	used, sum := 0, 0.0
	for _, p := range parts {
		sum += min(max(p.share, 0), 1)
		if until := min(width, int(sum*float64(width)+0.5)); until > used {
			b = append(b, Span{strings.Repeat(filled, until-used), p.style})
			used = until
		}
	}
	return append(b, Span{strings.Repeat(empty, width-used), Dim})
}

// coverage is a map of 256 slices of a key space, see [page.Backfill]: true where all is here.
type coverage [256]bool

// decode reads a map. A bad one is empty.
func decode(text string) (s coverage) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(s)/8 {
		return s
	}
	for i := range s {
		s[i] = raw[i/8]&(0x80>>(i%8)) != 0
	}
	return s
}

// share is how many of the slices are complete, 0 to 1.
func (s coverage) share() float64 {
	n := 0
	for _, complete := range s {
		if complete {
			n++
		}
	}
	return float64(n) / float64(len(s))
}

// lines draws one slice a cell, in as few lines as the width allows.
func (s coverage) lines(width int) (lines []Line) {
	width = power(width)
	for at := 0; width > 0 && at < len(s); at += width {
		lines = append(lines, s.cells(at, at+width, width))
	}
	return lines
}

// line draws all slices in one line.
func (s coverage) line(width int) Line { return s.cells(0, len(s), power(width)) }

// cells draws the slices from low to high in so many cells, those of a kind as one span.
func (s coverage) cells(low, high, width int) (l Line) {
	for i := range width {
		slices, complete := s[low+i*(high-low)/width:low+(i+1)*(high-low)/width], 0
		for _, set := range slices {
			if set {
				complete++
			}
		}
		cell := Span{partly, Sun}
		switch complete {
		case 0:
			cell = Span{empty, Dim}
		case len(slices):
			cell = Span{filled, Sun}
		}
		if n := len(l); n > 0 && strings.HasSuffix(l[n-1].Text, cell.Text) {
			l[n-1].Text += cell.Text
		} else {
			l = append(l, cell)
		}
	}
	return l
}

// power is the highest power of two up to a width that is of use, or 0.
func power(width int) int {
	if width < 8 {
		return 0
	}
	return min(longest, 1<<(bits.Len(uint(width))-1))
}
