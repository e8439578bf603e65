// SPDX-License-Identifier: LGPL-3.0-or-later

package demo

import (
	"fmt"

	"github.com/sunbeam-eth/sunbeam/internal/mockcl"
	"github.com/sunbeam-eth/sunbeam/internal/stategen"
)

// print prints a line.
func (r *run) print(line ...any) {
	r.printing.Lock()
	defer r.printing.Unlock()
	fmt.Fprintln(r.cfg.Out, line...)
}

func (r *run) printIntroduction() {
	spec := r.cfg.State
	fmt.Fprintf(r.cfg.Out, `
geth has %d accounts and %d contracts with %d slots; one-way delay to it is %v.
sunbeam is fresh: it knows the genesis and geth's enode, nothing else. Look around:

  curl -s %s -H 'content-type: application/json' -d '{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["%s","latest"]}'
  curl -s %s -H 'content-type: application/json' -d '{"jsonrpc":"2.0","id":1,"method":"beam_status","params":[]}'
  geth attach %s
  tail -f %s

`, spec.Accounts, spec.Contracts, spec.Slots, r.cfg.Delay,
		r.node.HTTP, stategen.Account(uint64(r.random.IntN(spec.Accounts))), r.node.HTTP, r.node.IPC, r.node.Log())
}

// blockLine tells what became of a block, and what its execution fetched if that is the node's last one.
func blockLine(r mockcl.Record, status *Status) string {
	line := fmt.Sprintf("block %d  %-7s  %6.0f ms  %4d txs %5.1f Mgas", r.Number, r.Status, float64(r.Latency.Milliseconds()), r.Txs, float64(r.GasUsed)/1e6)
	if last := status.Last; last.Number == r.Number {
		f := last.Fetched
		line += fmt.Sprintf("  faults %4d  trips %3d  nodes %5d  codes %2d  %7.1f kB  waited %5d ms", f.Faults, f.Trips, f.Nodes, f.Codes, float64(f.Bytes)/1e3, int(f.WaitSeconds*1000))
	}
	if b := status.Backfill; b != nil {
		line += fmt.Sprintf("  state %5.1f %%", 100*b.Share)
	}
	if r.Syncing > 0 {
		line += fmt.Sprintf("  (SYNCING %d times first)", r.Syncing)
	}
	if r.Implied {
		line += "  (by a descendant)"
	}
	if r.Err != "" {
		line += "  " + r.Err
	}
	return line
}

// printSummary says how it went, in the last lines.
func (r *run) printSummary() {
	to, from := r.testbed.Proxy.Traffic()
	seen, total := r.seen, r.status.Totals.Fetched
	fmt.Fprintf(r.cfg.Out, "\n%d answers compared, %d different", seen.same+seen.different, seen.different)
	if seen.unanswered > 0 {
		fmt.Fprintf(r.cfg.Out, ", %d questions unanswered in time", seen.unanswered)
	}
	fmt.Fprintf(r.cfg.Out, "; %d kB to geth, %d kB from it; at most %d MB of memory\n", to/1000, from/1000, r.memory/1_000_000)
	fmt.Fprintf(r.cfg.Out, "demo: %d blocks VALID, first VALID after %.1f s, %d trips, %d nodes, %d bytes\n",
		seen.valid, r.firstValid.Seconds(), total.Trips, total.Nodes, total.Bytes)
}
