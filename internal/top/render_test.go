// SPDX-License-Identifier: LGPL-3.0-or-later

package top

import (
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/rivo/uniseg"

	"github.com/sunbeam-eth/sunbeam/internal/page"
)

// sample is a state with something of everything.
func sample() *page.State {
	return &page.State{
		Version: "1.0.0", Network: "mainnet", Phase: "beaming", Waits: []string{"The rest of the state waits for peers."}, Head: 23_000_017, Newest: 23_000_018,
		Backfill: &page.Backfill{
			Share: 0.4242, ETA: 5000, ETALow: 4000, ETAHigh: 9000, Rate: 7e6, Bytes: 40e9, Remaining: 60e9, Accounts: 120e6, Slots: 600e6, Codes: 90_000,
			Map: strings.Repeat("f", 24) + "8000" + strings.Repeat("0", 36), Large: []page.Contract{{Account: "0x" + strings.Repeat("ab", 32), Map: strings.Repeat("f0", 32)}},
		},
		History: page.History{Share: 0.5, Oldest: 22_950_000},
		Blocks: []page.Block{
			{Number: 23_000_016, Outcome: "valid", Txs: 200, Gas: 30e6, Millis: 900, Waited: 700, Guessed: 120, Run: 80, Written: 30, Faults: 1200, Trips: 5, Nodes: 4000, Codes: 20, Bytes: 900_000},
			{Number: 23_000_017, Outcome: "incomplete", Txs: 180, Gas: 22e6, Millis: 400, Waited: 100, Guessed: 180, Run: 120, Faults: 40, Trips: 2, Nodes: 90, Codes: 1, Bytes: 50_000},
		},
		Totals: page.Totals{Valid: 17, Incomplete: 1},
		Peers: []page.Peer{
			{ID: strings.Repeat("1a", 32), Name: "Geth/v1.17.10-stable\x1b]0;pwned\a/linux-amd64", Head: 23_000_017, Latency: 42, Gives: []string{"blocks 0 to 23000017", "state by ranges"}, Received: 62_585_000, Sent: 307_000},
			{ID: strings.Repeat("2b", 32), Name: "月/v1.0.0\n", Inbound: true, Head: 23_000_017, Gives: []string{"state by hash"}},
		},
		Disk: page.Disk{Hot: 1.2e9, Free: 800e9, Stores: []page.Store{{Name: "chaindata", Bytes: 41e9}, {Name: "beam-hot", Bytes: 1.3e9}}, LogIndex: 4.2e9},
	}
}

const wide = `Sunbeam mainnet beaming  head 23,000,017, 1 block behind
The rest of the state waits for peers.
State  42.4 % ███████████████████████████░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░
83 min to go, likely 67 min to 2.5 h; about 60.0 GB at 7.0 MB/s
120,000,000 accounts, 600,000,000 slots, 90,000 codes, 40.0 GB received
████████████████████████████████████████████████████████████████
█████████████████████████████████░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░
░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░
░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░
contract 0xabababab  50 % █░█░█░█░█░█░█░█░█░█░█░█░█░█░█░█░█░█░█░█░█░█░█░█░█░█░█░█░█░█░█░█░
Block 23,000,017 ████████████████████████████████████████████████████████████████
100 ms waiting for peers, 180 speculating, 120 executing, 0 writing
40 reads needed the network, in 2 round trips: 90 nodes, 1 code, 50.0 kB.
Disk 42.3 GB, 1.2 GB fetched on demand, 800 GB free; old blocks 50.0 %, down to 22,950,000
2 peers
peer                                        ms        head     gave     got  can give
Geth/v1.17.10-stable?]0;pwned?/linux-amd64  42  23,000,017  62.6 MB  307 kB  blocks 0 to 23000017, state by ranges
月/v1.0.0  (called us)                       -  23,000,017      0 B     0 B  state by hash
Blocks 17 valid, 1 incomplete
     block  outcome      ms  waited  trips  faults  Mgas  nodes  txs    bytes
23,000,017  incomplete  400     100      2      40  22.0     90  180  50.0 kB
23,000,016  valid       900     700      5   1,200  30.0  4,000  200   900 kB
`

func TestRender(t *testing.T) {
	if got := Text(Render(View{State: sample(), Width: 120})); got != wide {
		t.Errorf("a wide frame is\n%s", got)
	}
	full := sample()
	full.Phase, full.Backfill, full.Waits, full.Newest, full.Blocks, full.Peers = "full", nil, nil, full.Head, nil, nil
	for _, c := range []struct {
		view   View
		has    []string
		hasNot []string
	}{
		{View{Width: 80}, []string{"Waiting for the node's answer"}, nil},
		{View{Width: 80, Lost: "no such file\x1b[2J"}, []string{"does not answer: no such file?[2J."}, nil},
		{View{Width: 90, State: sample(), Lost: "EOF", Since: 125 * time.Second}, []string{"The node does not answer: EOF. This was 2 min ago.", "23,000,017"}, []string{"waits for peers."}},
		{View{Width: 80, State: full}, []string{"serves the head", "all of it", "none was executed yet", "0 peers", "Blocks 17 valid"}, []string{"behind", "outcome"}},
		{View{Width: 40, State: sample()}, []string{"incomplete  400", "likely", "42", "contract 0xabababab  50 % ▒▒▒▒▒▒▒▒\n"}, []string{"bytes", "Mgas", "22,950,000"}},
		{View{Width: 80, Height: 21, State: sample()}, []string{"2 peers (1 not shown)", "Blocks 17 valid, 1 incomplete\n"}, []string{"月"}},
		{View{Width: 80, Height: 19, State: sample()}, []string{"2 peers (2 not shown)", "(2 not shown)"}, []string{"Geth"}},
	} {
		frame := Text(Render(c.view))
		for _, want := range c.has {
			if !strings.Contains(frame, want) {
				t.Errorf("at %dx%d there is no %q:\n%s", c.view.Width, c.view.Height, want, frame)
			}
		}
		for _, not := range c.hasNot {
			if strings.Contains(frame, not) {
				t.Errorf("at %dx%d there is %q:\n%s", c.view.Width, c.view.Height, not, frame)
			}
		}
	}
}

// A frame fits into any terminal, and nothing in it is obeyed by one.
func TestRenderFits(t *testing.T) {
	for _, v := range []View{{State: sample()}, {Lost: strings.Repeat("long ", 40)}, {State: sample(), Lost: "EOF"}, {State: &page.State{Backfill: &page.Backfill{Map: "bad", Large: sample().Backfill.Large}}}} {
		for v.Width = 0; v.Width < 130; v.Width += 1 + v.Width/10 {
			for v.Height = 0; v.Height < 40; v.Height += 3 {
				lines := Render(v)
				if v.Height > 0 && len(lines) > v.Height {
					t.Fatalf("%d lines at %dx%d", len(lines), v.Width, v.Height)
				}
				for _, l := range lines {
					if uniseg.StringWidth(l.String()) > v.Width || strings.ContainsFunc(l.String(), unicode.IsControl) {
						t.Fatalf("%q at %dx%d", l, v.Width, v.Height)
					}
				}
			}
		}
	}
}
