// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/core/types"
	"golang.org/x/sync/errgroup"

	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/internal/demo"
	"github.com/sunbeam-eth/sunbeam/internal/mockcl"
	"github.com/sunbeam-eth/sunbeam/internal/stategen"
)

const (
	// followTimeout is how long blocks may stay open beyond their slots.
	followTimeout = time.Minute
	// statusEvery is how often the node is asked what it did: more often than blocks can end
	// that need one trip at least.
	statusEvery = 50 * time.Millisecond
)

// FollowOptions says what to follow, over a link to the only peer.
type FollowOptions struct {
	TestbedOptions
	Blocks   int
	Mix      stategen.Mix
	Stall    time.Duration // how long the link stands still in the middle of the run
	Build    bool          // have the node build on every second block, with the next block's transactions in its pool
	Backfill bool          // fetch the rest of the state as well: the node is soon full, and blocks need no network
	Warmup   bool          // fetch what the blocks before the first one used
}

func (o *FollowOptions) check() error {
	switch {
	case o.Blocks < 1:
		return fmt.Errorf("%d blocks", o.Blocks)
	case o.Stall < 0:
		return fmt.Errorf("stall %v: negative", o.Stall)
	}
	return o.TestbedOptions.check(1_000_000)
}

// StateOf is a generated state with so many accounts, in the proportions of stategen.Large.
func StateOf(accounts int) stategen.Spec {
	for _, known := range []stategen.Spec{stategen.Demo(), stategen.Large()} {
		if known.Accounts == accounts {
			return known
		}
	}
	large := stategen.Large()
	share := func(n int) int { return max(1, int(int64(n)*int64(accounts)/int64(large.Accounts))) }
	return stategen.Spec{
		Accounts: accounts, Senders: max(50, share(large.Senders)), Contracts: share(large.Contracts),
		Codes: share(large.Codes), Slots: share(large.Slots),
	}
}

// ParseMix finds a mix of transactions by its name: cold, mixed or mainnet.
func ParseMix(name string) (stategen.Mix, error) {
	switch name {
	case "cold":
		return stategen.Cold(), nil
	case "mixed":
		return stategen.Mixed(), nil
	case "mainnet":
		return stategen.Mainnet(), nil
	}
	return stategen.Mix{}, fmt.Errorf("unknown mix %q (cold, mixed or mainnet)", name)
}

// Follow lets a fresh node follow a chain that a real geth builds, and prints what became of each
// block: trips, requests, nodes, codes and bytes as the node itself reports them, seconds from
// the block's publication to VALID as its consensus client sees them; then a [FollowSum]. It fails
// unless every block was VALID.
func Follow(ctx context.Context, opts FollowOptions, out io.Writer) (err error) {
	if err := opts.check(); err != nil {
		return err
	}
	testbed, err := opts.newTestbed(ctx, 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, testbed.Close()) }()
	f := &following{opts: opts, testbed: testbed, out: out, reports: make(map[uint64]demo.Fetched)}
	return errors.Join(testbed.RunScenario(ctx, f.run), ctx.Err(), f.verdict())
}

// following is one run.
type following struct {
	opts    FollowOptions
	testbed *demo.Testbed
	node    *demo.Node
	metrics string // URL
	out     io.Writer

	results []*BlockResult // of report, while the chain runs

	mu      sync.Mutex
	reports map[uint64]demo.Fetched // by block, as the node told
}

// run starts the node, and drives the chain to its end.
func (f *following) run(ctx context.Context) error {
	metrics, err := freeAddress(ctx)
	if err != nil {
		return err
	}
	f.metrics = "http://" + metrics + "/metrics"
	_, port, _ := net.SplitHostPort(metrics)
	args := []string{"--metrics", "--metrics.port", port, fmt.Sprintf("--beam.backfill=%t", f.opts.Backfill)}
	if !f.opts.Warmup {
		args = append(args, "--beam.warmup.size", "0")
	}
	f.node, err = demo.StartNode(ctx, f.testbed.Node("sunbeam-data", args...))
	if err != nil {
		return err
	}
	return errors.Join(f.drive(ctx), f.node.Close())
}

func (f *following) drive(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(f.opts.Blocks)*f.opts.Slot+f.opts.Stall+followTimeout)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	watched, unwatch := context.WithCancel(ctx)
	defer unwatch()
	group.Go(func() error { f.watch(watched); return nil })
	built := 0
	follower := mockcl.NewFollower(f.node.Engine, f.opts.Slot, func(r mockcl.Record) { f.report(ctx, r) }, slog.New(slog.DiscardHandler))
	follower.Builds = func(p *mockcl.Payload) bool { return f.building(p.Data.Number) }
	chain := mockcl.Chain{
		Builder:   f.testbed.Builder,
		Followers: []*mockcl.Follower{follower},
		Slot:      f.opts.Slot,
		Blocks:    f.opts.Blocks,
		Transactions: func(uint64, *big.Int) []*types.Transaction {
			txs := f.testbed.Traffic.Block(f.opts.Gas, f.opts.Mix)
			if f.opts.Build {
				group.Go(func() error {
					if err := f.opts.send(watched, txs, f.node.RPC); watched.Err() == nil {
						return err
					}
					return nil // the run is over
				})
			}
			return txs
		},
		Built: func(*mockcl.Payload) {
			if built++; f.opts.Stall > 0 && built == (f.opts.Blocks+1)/2 {
				group.Go(func() error { f.stall(watched); return nil })
			}
		},
	}
	group.Go(func() error {
		defer unwatch()
		if err := chain.Run(ctx); err != nil {
			return err
		}
		return f.sum(ctx)
	})
	return group.Wait()
}

// building says whether the node is to build a block on the one of a number.
func (f *following) building(number uint64) bool { return f.opts.Build && number%2 == 0 }

// stall stops the link for a while.
func (f *following) stall(ctx context.Context) {
	f.opts.report("the link stands still for %v", f.opts.Stall)
	f.testbed.Proxy.Stall(true)
	defer f.testbed.Proxy.Stall(false)
	select {
	case <-time.After(f.opts.Stall):
	case <-ctx.Done():
	}
}

// watch asks the node about its last block again and again: it tells about one at a time.
func (f *following) watch(ctx context.Context) {
	ticker := time.NewTicker(statusEvery)
	defer ticker.Stop()
	for {
		f.ask(ctx)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func (f *following) ask(ctx context.Context) {
	status, err := f.node.Status(ctx)
	if err != nil {
		return // its absence shows in the results
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reports[status.Last.Number] = status.Last.Fetched
}

// report prints what became of a block.
func (f *following) report(ctx context.Context, record mockcl.Record) {
	f.ask(ctx)
	f.mu.Lock()
	fetched := f.reports[record.Number]
	f.mu.Unlock()
	r := &BlockResult{
		ChainID:      stategen.ChainID().Uint64(),
		Number:       record.Number,
		Strategy:     string(Beam),
		RTT:          f.opts.RTT.Seconds(),
		Outcome:      outcomeOf(record.Status),
		Error:        record.Err,
		Transactions: record.Txs,
		Gas:          record.GasUsed,
		NodesFetched: fetched.Nodes,
		Codes:        fetched.Codes,
		Bytes:        fetched.Bytes,
		Trips:        float64(fetched.Trips),
		Requests:     fetched.Requests,
		Seconds:      record.Latency.Seconds(),
	}
	f.results = append(f.results, r)
	if f.opts.JSON {
		_ = json.NewEncoder(f.out).Encode(r) // who does not listen is not told
		return
	}
	if len(f.results) == 1 {
		fmt.Fprintf(f.out, "%9s %-10s %5s %6s %8s %5s %10s %6s %8s %9s\n", "block", "outcome", "txs", "Mgas", "fetched", "codes", "bytes", "trips", "requests", "seconds")
	}
	fmt.Fprintf(f.out, "%9d %-10s %5d %6.1f %8d %5d %10d %6.0f %8d %9.3f  %s\n", r.Number, r.Outcome, r.Transactions, float64(r.Gas)/1e6,
		r.NodesFetched, r.Codes, r.Bytes, r.Trips, r.Requests, r.Seconds, r.Error)
}

// outcomeOf says with the executor's words what the Engine API said.
func outcomeOf(status string) string {
	switch status {
	case engine.VALID:
		return evm.Valid.String()
	case engine.INVALID:
		return evm.Invalid.String()
	}
	return evm.Incomplete.String()
}

// verdict is nil if all blocks were VALID.
func (f *following) verdict() error {
	valid := 0
	for _, r := range f.results {
		if r.Right() {
			valid++
		}
	}
	if valid < f.opts.Blocks {
		return fmt.Errorf("%d of %d blocks were VALID", valid, f.opts.Blocks)
	}
	return nil
}

// freeAddress returns a loopback address that was free a moment ago.
func freeAddress(ctx context.Context) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}
