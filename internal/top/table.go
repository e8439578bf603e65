// SPDX-License-Identifier: LGPL-3.0-or-later

package top

import (
	"strings"

	"github.com/rivo/uniseg"
)

// column of a table.
type column struct {
	title  string
	number bool // right-aligned
	order  int  // the columns with the highest numbers are left out first when the table is too wide; 0 stays
}

type table struct {
	columns []column
	rows    []Line // a span for each column
}

// minText is to what a column of text is cut, in cells, before another column is left out.
const minText = 12

// lines draws the table with its titles.
func (t table) lines(width int) []Line {
	if len(t.rows) == 0 {
		return nil
	}
	var titles Line
	for _, c := range t.columns {
		titles = append(titles, Span{c.title, Dim})
	}
	rows, widths := append([]Line{titles}, t.rows...), t.fit(width)
	lines := make([]Line, len(rows))
	for i, row := range rows {
		for j, c := range t.columns {
			if widths[j] == 0 {
				continue
			}
			cell := Span{cut(row[j].Text, widths[j]), row[j].Style}
			space := Span{Text: strings.Repeat(" ", widths[j]-uniseg.StringWidth(cell.Text))}
			if len(lines[i]) > 0 {
				lines[i] = append(lines[i], Span{Text: "  "})
			}
			if c.number {
				lines[i] = append(lines[i], space, cell)
			} else {
				lines[i] = append(lines[i], cell, space)
			}
		}
	}
	return lines
}

// fit chooses the width of each column, 0 for one that is left out.
func (t table) fit(width int) []int {
	widths, least := make([]int, len(t.columns)), make([]int, len(t.columns))
	for i, c := range t.columns {
		widths[i] = uniseg.StringWidth(c.title)
		for _, row := range t.rows {
			widths[i] = max(widths[i], uniseg.StringWidth(row[i].Text))
		}
		least[i] = widths[i]
		if !c.number {
			least[i] = min(least[i], minText)
		}
	}
	for total(least) > width {
		out := 0
		for i, c := range t.columns {
			if widths[i] > 0 && c.order > t.columns[out].order {
				out = i
			}
		}
		if out == 0 {
			break
		}
		widths[out], least[out] = 0, 0
	}
	for excess := total(widths) - width; excess > 0; excess-- { // text gets shorter, the longest first
		widest := -1
		for i := range widths {
			if widths[i] > least[i] && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
	}
	return widths
}

// total is the width of columns with the spaces between them.
func total(widths []int) (sum int) {
	for _, w := range widths {
		if w > 0 {
			sum += w + 2
		}
	}
	return sum - 2
}
