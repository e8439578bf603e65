// SPDX-License-Identifier: LGPL-3.0-or-later

package demo

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/sunbeam-eth/sunbeam/internal/gethpeer"
	"github.com/sunbeam-eth/sunbeam/internal/mockcl"
	"github.com/sunbeam-eth/sunbeam/internal/stategen"
)

// print prints a line.
func (r *run) print(line ...any) {
	r.printing.Lock()
	defer r.printing.Unlock()
	fmt.Fprintln(r.cfg.Out, line...)
}

// lines is an output that several goroutines write whole lines to.
type lines struct {
	mu  sync.Mutex
	out io.Writer
}

// Write implements io.Writer.
func (l *lines) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(text)
}

// printLegend says what is to come, and what its figures mean.
func printLegend(cfg Config) {
	fmt.Fprintf(cfg.Out, `A fresh node executes the newest block at once, and fetches from its peer only what the block reads, while the rest of the state
follows. geth's snap sync fetches all of the state first. Recorded over 100 ms on two cores (docs/performance.md; not run here): the
state of 1 M accounts and 3 M slots takes geth 90 s, and Sunbeam 40 s, which executes blocks meanwhile.

  VALID    the block was executed, and its state root is right        faults   reads of state that needed the network
  ms       from the block to that answer                              trips    sequential round trips that they took
  waited   part of it in which the node waited for its peer           nodes    trie nodes fetched, whole paths at once
  [##..]   how much of the whole state the node has                   codes    contracts' codes fetched

Building geth (the version in go.mod) and sunbeam, and making a state of %d accounts and %d slots: minutes the first time, seconds later.
Ctrl-C ends the demo, now and later.
`, cfg.State.Accounts, cfg.State.Slots)
}

// bar draws a share.
func bar(share float64) string {
	const width = 20
	full := int(share*width + 0.5)
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", width-full) + "]"
}

func (r *run) printIntroduction(ctx context.Context, page string) error {
	geth, err := gethpeer.Binary(ctx)
	if err != nil {
		return err
	}
	spec := r.cfg.State
	fmt.Fprintf(r.cfg.Out, `
geth has %d accounts and %d contracts with %d slots; one-way delay to it is %v.
sunbeam is fresh: it knows the genesis and geth's enode, nothing else. Look around:

  %s    the status page of sunbeam, for a browser
  curl -s %s -H 'content-type: application/json' -d '{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["%s","latest"]}'
  curl -s %s -H 'content-type: application/json' -d '{"jsonrpc":"2.0","id":1,"method":"beam_status","params":[]}'
  %s attach %s
  tail -f %s

`, spec.Accounts, spec.Contracts, spec.Slots, r.cfg.Delay, page,
		r.node.HTTP, stategen.Account(uint64(r.random.IntN(spec.Accounts))), r.node.HTTP, geth, r.node.IPC, r.node.Log())
	return nil
}

// blockLine tells what became of a block, and what its execution fetched if that is the node's last one.
func blockLine(r mockcl.Record, status *Status) string {
	line := fmt.Sprintf("block %d  %-7s  %6.0f ms  %4d txs %5.1f Mgas", r.Number, r.Status, float64(r.Latency.Milliseconds()), r.Txs, float64(r.GasUsed)/1e6)
	if last := status.Last; last.Number == r.Number {
		f := last.Fetched
		line += fmt.Sprintf("  faults %4d  trips %3d  nodes %5d  codes %2d  %7.1f kB  waited %5d ms", f.Faults, f.Trips, f.Nodes, f.Codes, float64(f.Bytes)/1e3, int(f.WaitSeconds*1000))
	}
	if b := status.Backfill; b != nil {
		line += fmt.Sprintf("  %s state %5.1f %%", bar(b.Share), 100*b.Share)
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
	how := "not full yet"
	if seen.full {
		how = fmt.Sprintf("full after %.0f s", r.fullAfter.Seconds())
	}
	fmt.Fprintf(r.cfg.Out, "demo: %s, and %d blocks VALID, first VALID after %.1f s, %d trips, %d nodes, %d bytes\n",
		how, seen.valid, r.firstValid.Seconds(), total.Trips, total.Nodes, total.Bytes)
}
