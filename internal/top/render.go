// SPDX-License-Identifier: LGPL-3.0-or-later

package top

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sunbeam-eth/sunbeam/internal/page"
)

// View is what a frame shows.
type View struct {
	State  *page.State   // the newest one that the node sent; nil before the first
	Lost   string        // why the node does not answer now; empty: it does
	Since  time.Duration // how old State is if it does not
	Width  int           // of the terminal, in cells
	Height int           // in lines; 0: as many as there is to show
}

// Render draws a frame, no wider and no higher than the view.
func Render(v View) []Line {
	lines := v.header()
	if v.State != nil {
		lines = append(lines, v.body(len(lines))...)
	}
	if v.Height > 0 && len(lines) > v.Height {
		lines = lines[:v.Height]
	}
	for i := range lines {
		lines[i] = lines[i].within(v.Width)
	}
	return lines
}

// header names the node, and says what it waits for.
func (v View) header() []Line {
	s := v.State
	switch {
	case s == nil && v.Lost == "":
		return wrap(Dim, "Waiting for the node's answer", v.Width)
	case s == nil:
		return wrap(Bad, fmt.Sprintf("The node does not answer: %s.", clean(v.Lost)), v.Width)
	}
	phase := Sun
	if s.Phase == "full" {
		phase = Good
	}
	title := line(text(Bold, "Sunbeam "), text(Plain, "%s ", clean(s.Network)), text(phase, "%s", clean(s.Phase)), text(Plain, "  head %s", count(s.Head)))
	if s.Newest > s.Head {
		title = append(title, text(Plain, ", %s behind", plural(s.Newest-s.Head, "block")))
	}
	style, words := Plain, "The node serves the head of the chain."
	switch {
	case v.Lost != "":
		style, words = Bad, fmt.Sprintf("The node does not answer: %s. This was %s ago.", clean(v.Lost), span(v.Since.Seconds()))
	case len(s.Waits) > 0:
		words = clean(strings.Join(s.Waits, " "))
	}
	return append([]Line{title}, wrap(style, words, v.Width)...)
}

// body is all below a header of some lines. If it is too high, it has fewer peers and blocks.
func (v View) body(header int) []Line {
	lines := slices.Concat(v.state(), v.lastBlock(), []Line{v.disk()})
	peers, blocks := len(v.State.Peers), len(v.State.Blocks)
	if v.Height > 0 {
		left := max(0, v.Height-header-len(lines)-4) // without two lines of titles for each
		peers = min(peers, max(left/3, left-blocks))
		blocks = min(blocks, left-peers)
	}
	return slices.Concat(lines, v.peers(peers), v.blocks(blocks))
}

// state is how much of the state is here.
func (v View) state() []Line {
	b := v.State.Backfill
	switch {
	case v.State.Phase == "full":
		return []Line{line(text(Bold, "State"), text(Plain, " all of it: the node executes on its own disk"))}
	case b == nil:
		return []Line{line(text(Bold, "State"), text(Plain, " the rest is not collected"))}
	}
	label := text(Bold, "State %5.1f %% ", 100*b.Share)
	lines := []Line{append(line(label), bar(v.Width-len(label.Text), part{b.Share, Sun})...)}
	lines = append(lines, wrap(Plain, remaining(b), v.Width)...)
	lines = append(lines, wrap(Dim, fmt.Sprintf("%s accounts, %s slots, %s codes, %s received", count(b.Accounts), count(b.Slots), count(b.Codes), size(b.Bytes)), v.Width)...)
	lines = append(lines, decode(b.Map).lines(v.Width)...)
	return append(lines, v.large(b.Large)...)
}

// remaining says how long the rest of the state will take.
func remaining(b *page.Backfill) string {
	if b.ETA <= 0 {
		return "How long it will take is not known yet."
	}
	words := span(b.ETA) + " to go"
	if low, high := span(b.ETALow), span(b.ETAHigh); low != high {
		words += fmt.Sprintf(", likely %s to %s", low, high)
	}
	return fmt.Sprintf("%s; about %s at %s/s", words, size(b.Remaining), size(b.Rate))
}

// maxLarge is how many contracts have a line of their own.
const maxLarge = 4

// large are the maps of contracts with much storage, a line each.
func (v View) large(contracts []page.Contract) (lines []Line) {
	for i, c := range contracts {
		if i == maxLarge {
			return append(lines, line(text(Dim, "and %s more", plural(len(contracts)-i, "large contract"))))
		}
		s := decode(c.Map)
		label := text(Dim, "contract %.10s %3.0f %% ", clean(c.Account), 100*s.share())
		lines = append(lines, append(line(label), s.line(v.Width-len(label.Text))...))
	}
	return lines
}

// lastBlock says where the time of the last block went.
func (v View) lastBlock() []Line {
	if len(v.State.Blocks) == 0 {
		return []Line{line(text(Bold, "Last block"), text(Plain, " none was executed yet"))}
	}
	b := v.State.Blocks[len(v.State.Blocks)-1]
	all := max(1, b.Millis+b.Written)
	label := text(Bold, "Block %s ", count(b.Number))
	lines := []Line{
		append(line(label), bar(v.Width-len(label.Text), part{b.Waited / all, Wait}, part{b.Guessed / all, Guess}, part{b.Run / all, Sun}, part{b.Written / all, Good})...),
		line(text(Wait, "%s ms", count(b.Waited)), text(Plain, " waiting for peers, "), text(Guess, "%s", count(b.Guessed)), text(Plain, " speculating, "),
			text(Sun, "%s", count(b.Run)), text(Plain, " executing, "), text(Good, "%s", count(b.Written)), text(Plain, " writing")),
	}
	words := "All of the state that it read was here."
	if b.Faults > 0 {
		words = fmt.Sprintf("%s needed the network, in %s: %s, %s, %s.",
			plural(b.Faults, "read"), plural(b.Trips, "round trip"), plural(b.Nodes, "node"), plural(b.Codes, "code"), size(b.Bytes))
	}
	return append(lines, wrap(Plain, words, v.Width)...)
}

// disk says what is stored, and how much of the old blocks.
func (v View) disk() Line {
	s := v.State
	l := line(text(Bold, "Disk"))
	var stored uint64
	for _, store := range s.Disk.Stores {
		stored += store.Bytes
	}
	if stored > 0 {
		l = append(l, text(Plain, " %s,", size(stored)))
	}
	l = append(l, text(Plain, " %s fetched on demand", size(s.Disk.Hot)))
	if s.Disk.Free > 0 {
		l = append(l, text(Plain, ", %s free", size(s.Disk.Free)))
	}
	if s.History.Share < 1 {
		l = append(l, text(Plain, "; old blocks %.1f %%, down to %s", 100*s.History.Share, count(s.History.Oldest)))
	}
	return l
}

// peers are the first n.
func (v View) peers(n int) []Line {
	all := v.State.Peers
	t := table{columns: []column{{title: "peer"}, {title: "ms", number: true, order: 1}, {title: "head", number: true, order: 5}, {title: "gave", number: true, order: 2}, {title: "got", number: true, order: 4}, {title: "can give", order: 3}}}
	for _, p := range all[:n] {
		name, latency := clean(p.Name), "-"
		if p.Inbound {
			name += " (called us)"
		}
		if p.Latency > 0 {
			latency = count(p.Latency)
		}
		t.rows = append(t.rows, line(text(Plain, "%s", name), text(Plain, "%s", latency), text(Plain, "%s", count(p.Head)), text(Plain, "%s", size(p.Received)), text(Plain, "%s", size(p.Sent)),
			text(Plain, "%s", clean(strings.Join(p.Gives, ", ")))))
	}
	title := line(text(Bold, "%s", plural(len(all), "peer")), hidden(len(all)-n))
	return append([]Line{title}, t.lines(v.Width)...)
}

// blocks are the newest n, the last one first.
func (v View) blocks(n int) []Line {
	s := v.State
	title := line(text(Bold, "Blocks"), text(Plain, " %s valid", count(s.Totals.Valid)))
	if s.Totals.Invalid > 0 {
		title = append(title, text(Bad, ", %s invalid", count(s.Totals.Invalid)))
	}
	if s.Totals.Incomplete > 0 {
		title = append(title, text(Plain, ", %s incomplete", count(s.Totals.Incomplete)))
	}
	t := table{columns: []column{
		{title: "block", number: true},
		{title: "outcome", order: 1},
		{title: "ms", number: true, order: 2},
		{title: "waited", number: true, order: 3},
		{title: "trips", number: true, order: 4},
		{title: "faults", number: true, order: 5},
		{title: "Mgas", number: true, order: 6},
		{title: "nodes", number: true, order: 7},
		{title: "txs", number: true, order: 8},
		{title: "bytes", number: true, order: 9},
	}}
	styles := map[string]Style{"valid": Good, "invalid": Bad, "incomplete": Sun}
	for _, b := range slices.Backward(s.Blocks[len(s.Blocks)-n:]) {
		row := line(text(Plain, "%s", count(b.Number)), text(styles[b.Outcome], "%s", clean(b.Outcome)))
		for _, cell := range []string{
			count(b.Millis), count(b.Waited), count(b.Trips), count(b.Faults), fmt.Sprintf("%.1f", float64(b.Gas)/1e6), count(b.Nodes), count(b.Txs), size(b.Bytes),
		} {
			row = append(row, text(Plain, "%s", cell))
		}
		t.rows = append(t.rows, row)
	}
	return append([]Line{append(title, hidden(len(s.Blocks)-n))}, t.lines(v.Width)...)
}

// hidden says how many rows there is no room for.
func hidden(n int) Span {
	if n == 0 {
		return Span{}
	}
	return text(Dim, " (%d not shown)", n)
}

// Text is lines without styles.
func Text(lines []Line) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(strings.TrimRight(l.String(), " "))
		b.WriteByte('\n')
	}
	return b.String()
}
