// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// largeGas is from where on a block counts as a full one in the summary.
const largeGas = 5_000_000

// table prints a line for each block and strategy, and a summary.
type table struct {
	out  io.Writer
	opts BlocksOptions
	rows []*BlockResult // the one of each line that trips are taken from
}

func (t *table) print(results []*BlockResult) error {
	var text strings.Builder
	if len(t.rows) == 0 {
		t.header(&text)
	}
	// The longest round trip blurs least: what takes time in addition to round trips counts least.
	r := slices.MaxFunc(results, func(a, b *BlockResult) int { return int(1e6 * (a.RTT - b.RTT)) })
	t.rows = append(t.rows, r)
	fmt.Fprintf(&text, "%9d %9d %-8s %-10s %5d %6.1f %7d %8d %5d %5d %5d %9d %7.1f %8d ", r.ChainID, r.Number, r.Strategy, r.Outcome,
		r.Transactions, float64(r.Gas)/1e6, r.NodesNeeded, r.NodesFetched, r.KeysNeeded, r.KeysVain, r.Codes, r.Bytes, r.Trips, r.Requests)
	for _, at := range results {
		fmt.Fprintf(&text, " %8.3f", at.Seconds)
	}
	if t.opts.Depth {
		fmt.Fprintf(&text, "  %5d %5.2f", r.Depth, r.overDepth())
	}
	if t.opts.CPU {
		fmt.Fprintf(&text, "  %8.2f %8.2f", r.CPU.Prefetch, r.CPU.Execute)
	}
	text.WriteString("\n")
	if r.Error != "" {
		fmt.Fprintf(&text, "          %s\n", r.Error)
	}
	for _, trip := range r.Explain {
		fmt.Fprintf(&text, "          %s\n", trip)
	}
	if t.opts.Depth && t.opts.Explain {
		fmt.Fprintf(&text, "          deepest: %s\n", r.Deepest)
	}
	_, err := io.WriteString(t.out, text.String())
	return err
}

// overfetch estimates nodes fetched / nodes needed on a whole state. A peer that has nothing but the
// witness answers wrong guesses with nothing; on a whole state each would bring about as many nodes
// as a right one.
func (r *BlockResult) overfetch() float64 {
	if r.NodesNeeded == 0 || r.KeysNeeded == 0 {
		return 1
	}
	return float64(r.NodesFetched)/float64(r.NodesNeeded) + float64(r.KeysVain)/float64(r.KeysNeeded)
}

// overDepth is how many times as many trips the block took as its data dependency does at least. Trips are whole ones:
// the rest is the time in which batches are open.
func (r *BlockResult) overDepth() float64 { return math.Floor(r.Trips) / float64(max(r.Depth, 1)) }

func (t *table) header(text *strings.Builder) {
	fmt.Fprintf(text, "%s link, %d peer(s) with the witness of the block", t.opts.Link, max(t.opts.Peers, 1))
	if len(t.opts.Warm) > 0 {
		fmt.Fprintf(text, ", after %d other block(s)", len(t.opts.Warm))
	}
	if t.opts.StoredCode {
		text.WriteString(", code stored")
	}
	if stored := t.opts.StoredState; stored != (StoredState{}) {
		fmt.Fprintf(text, ", %d %% of the accounts and %d %% of the slots stored", stored.Accounts, stored.Slots)
	}
	if t.opts.Link == Virtual {
		text.WriteString("\nseconds: virtual, of round trips alone; at 0s: real, of computing alone")
	}
	if t.opts.Depth {
		text.WriteString("\ndepth: trips that the data dependency takes at least with what is in the store; rate: trips / depth")
	}
	if t.opts.CPU {
		text.WriteString("\nprefetch, execute: seconds of processor time, of the node, the peers and the collection of garbage")
	}
	fmt.Fprintf(text, "\n%9s %9s %-8s %-10s %5s %6s %7s %8s %5s %5s %5s %9s %7s %8s ", "chain", "block", "strategy", "outcome", "txs", "Mgas",
		"needed", "fetched", "keys", "vain", "codes", "bytes", "trips", "requests")
	for _, rtt := range t.opts.RTTs {
		fmt.Fprintf(text, " %8s", "s@"+rtt.String())
	}
	if t.opts.Depth {
		fmt.Fprintf(text, "  %5s %5s", "depth", "rate")
	}
	if t.opts.CPU {
		fmt.Fprintf(text, "  %8s %8s", "prefetch", "execute")
	}
	text.WriteString("\n")
}

// sum compares the strategies: medians and worst cases over the blocks that are valid.
func (t *table) sum() error {
	var text strings.Builder
	fmt.Fprintf(&text, "\n%-8s %-22s %6s %12s %9s %12s %9s", "strategy", "blocks", "number", "median trips", "worst", "median over", "worst")
	if t.opts.Depth {
		fmt.Fprintf(&text, " %12s %9s %9s", "median depth", "rate", "worst")
	}
	if t.opts.CPU {
		fmt.Fprintf(&text, " %12s %9s", "median CPU s", "worst")
	}
	text.WriteString("\n")
	for _, strategy := range t.opts.Strategies {
		for _, least := range []uint64{largeGas, 0} {
			var trips, ratios, depths, rates, cpu []float64
			for _, r := range t.rows {
				if r.Strategy == string(strategy) && r.Gas >= least && r.Outcome == "valid" {
					trips = append(trips, r.Trips)
					ratios = append(ratios, r.overfetch())
					depths = append(depths, float64(r.Depth))
					rates = append(rates, r.overDepth())
					cpu = append(cpu, r.CPU.Prefetch+r.CPU.Execute)
				}
			}
			if len(trips) == 0 {
				continue
			}
			which := "all valid"
			if least > 0 {
				which = fmt.Sprintf("of at least %d Mgas", least/1_000_000)
			}
			fmt.Fprintf(&text, "%-8s %-22s %6d %12.1f %9.1f %12.2f %9.2f", strategy, which, len(trips),
				quantile(trips, 0.5), slices.Max(trips), quantile(ratios, 0.5), slices.Max(ratios))
			if t.opts.Depth {
				fmt.Fprintf(&text, " %12.1f %9.2f %9.2f", quantile(depths, 0.5), quantile(rates, 0.5), slices.Max(rates))
			}
			if t.opts.CPU {
				fmt.Fprintf(&text, " %12.2f %9.2f", quantile(cpu, 0.5), slices.Max(cpu))
			}
			text.WriteString("\n")
		}
	}
	text.WriteString("over: nodes fetched / needed, and as many more as there are vain keys for each needed one: what it would be on a whole state\n")
	_, err := io.WriteString(t.out, text.String())
	return err
}

// quantile returns the value that a share of the others lies below; the mean of the two middle
// ones for the median of an even number.
func quantile(values []float64, share float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	at := share * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}
