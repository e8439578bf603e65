// SPDX-License-Identifier: LGPL-3.0-or-later

package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/internal/mockcl"
	"github.com/sunbeam-eth/sunbeam/internal/simnet"
	"github.com/sunbeam-eth/sunbeam/internal/stategen"
)

// Config of the demo. Default fills it.
type Config struct {
	State     stategen.Spec
	Delay     time.Duration // each way
	Slot      time.Duration
	Gas       uint64 // that each block uses, about
	Mix       stategen.Mix
	Blocks    int    // to see VALID at least, before the node is full or later; 0: until interrupted
	Questions int    // to compare after each block
	CacheDir  string // for states
	Out       io.Writer
}

// Default is what `make demo` shows.
func Default(cacheDir string, out io.Writer) Config {
	return Config{
		State: stategen.Demo(), Delay: 50 * time.Millisecond, Slot: 2 * time.Second, Gas: 8_000_000,
		Mix: stategen.Mixed(), Questions: 9, CacheDir: cacheDir, Out: out,
	}
}

// idleLimit ends a demo that has a wanted number of blocks: nothing was built and nothing was judged
// for so long. It is far beyond what a block takes on a slow machine.
const idleLimit = 10 * time.Minute

// fullLimit ends a demo that has seen its blocks, and whose node does not become full.
const fullLimit = 10 * time.Minute

// Run shows the demo. It returns nil if ctx ended it, or if all wanted blocks were VALID;
// and only if every answer was geth's.
func Run(ctx context.Context, cfg Config) (err error) {
	cfg.Out = &lines{out: cfg.Out}
	printLegend(cfg)
	before := &stages{out: cfg.Out, began: time.Now()}
	ready := before.report()
	testbed, err := NewTestbed(ctx, NetworkConfig{
		State: cfg.State, Link: simnet.Link{Delay: cfg.Delay}, CacheDir: cfg.CacheDir,
		Seed: 1, Progress: cfg.Out, Log: slog.New(slog.DiscardHandler), Stage: before.begin,
	}, "")
	ready()
	if err != nil {
		if ctx.Err() != nil {
			fmt.Fprintln(cfg.Out, "demo: interrupted before it began")
			return nil
		}
		return err
	}
	defer func() { err = errors.Join(err, testbed.Close()) }()
	r := &run{
		cfg: cfg, testbed: testbed, random: rand.New(rand.NewPCG(2, 0)), heads: make(chan uint64, 1),
		seen: tally{wanted: cfg.Blocks, questions: cfg.Questions > 0},
	}
	return testbed.RunScenario(ctx, r.follow)
}

// run is one run of the demo.
type run struct {
	cfg     Config
	testbed *Testbed
	node    *Node
	random  *rand.Rand
	heads   chan uint64   // has room for one: the newest VALID block that no answers were compared about
	newest  atomic.Uint64 // VALID block
	full    atomic.Bool   // the node has the whole state

	// Of onBlock and compareAnswers, which write different fields of seen while the chain runs.
	seen       tally
	firstValid time.Duration // from the node's start
	fullAfter  time.Duration // likewise
	status     Status
	memory     uint64

	printing sync.Mutex
}

// follow starts a fresh node and has it follow the chain.
func (r *run) follow(ctx context.Context) (err error) {
	ports, err := freePorts(ctx, 1)
	if err != nil {
		return err
	}
	if r.node, err = StartNode(ctx, r.testbed.Node("sunbeam-data", "--page", "--page.port", ports[0])); err != nil {
		return err
	}
	if err = r.printIntroduction(ctx, "http://localhost:"+ports[0]+"/"); err != nil {
		return errors.Join(err, r.node.Close())
	}
	err = during(ctx, r.compareAnswers, r.drive, func(ctx context.Context) error {
		return ended(ctx, "sunbeam", r.node.Exited(), r.node.Wait)
	})
	r.seen.interrupted = ctx.Err() != nil
	err = errors.Join(err, r.node.Close())
	r.printSummary()
	return errors.Join(err, r.seen.verdict())
}

// drive is the consensus client. When it ends there are no more heads.
func (r *run) drive(ctx context.Context) error {
	defer close(r.heads)
	progress := func() {}
	if r.cfg.Blocks > 0 {
		limited, cancel := context.WithCancel(ctx)
		defer cancel()
		idle := time.AfterFunc(idleLimit, func() {
			r.print(fmt.Sprintf("\nNo block was built or judged for %v: giving up. The node's log ends with\n%s", idleLimit, r.node.LogTail()))
			cancel()
		})
		defer idle.Stop()
		ctx, progress = limited, func() { idle.Reset(idleLimit) }
	}
	report := func(record mockcl.Record) {
		progress()
		r.onBlock(ctx, record)
	}
	chain := mockcl.Chain{
		Builder:   r.testbed.Builder,
		Followers: []*mockcl.Follower{mockcl.NewFollower(r.node.Engine, r.cfg.Slot, report, slog.New(slog.DiscardHandler))},
		Slot:      r.cfg.Slot,
		Blocks:    r.cfg.Blocks,
		Until:     r.whole,
		Transactions: func(uint64, *big.Int) []*types.Transaction {
			return r.testbed.Traffic.Block(r.cfg.Gas, r.cfg.Mix)
		},
		Built: func(*mockcl.Payload) { progress() },
	}
	return chain.Run(ctx)
}

// whole says whether the node is full, or has had enough time for it.
func (r *run) whole() bool { return r.full.Load() || time.Since(r.node.Started) > fullLimit }

// onBlock counts and prints what became of a block.
func (r *run) onBlock(ctx context.Context, record mockcl.Record) {
	before := r.status.Full()
	switch record.Status {
	case engine.VALID:
		if r.seen.valid++; r.seen.valid == 1 {
			r.firstValid = time.Since(r.node.Started)
		}
	case engine.INVALID:
		r.seen.invalid++
	default:
		r.seen.open++
	}
	if status, err := r.node.Status(ctx); err == nil {
		r.status = status
	}
	r.memory = max(r.memory, r.node.Memory())
	r.print(blockLine(record, &r.status))
	if r.status.Full() && !before {
		r.seen.full, r.fullAfter = true, time.Since(r.node.Started)
		r.full.Store(true)
		r.print(fmt.Sprintf("\nsunbeam has the whole state, %.0f s after its start, and is a full node: from now on it executes on its own disk\n", r.fullAfter.Seconds()))
	}
	if record.Status == engine.VALID {
		r.newest.Store(record.Number)
		select {
		case <-r.heads: // an older one, not taken yet
		default:
		}
		r.heads <- record.Number
	}
}

// compareAnswers asks both nodes about VALID blocks until there are no more.
func (r *run) compareAnswers(ctx context.Context) error {
	asking := round{
		ask: func(ctx context.Context, q Question, block uint64) error {
			return Compare(ctx, q.At(block), r.node.RPC, r.testbed.Geth.RPC())
		},
		newest:    r.newest.Load,
		different: func(err error) { r.print("  DIFFERENT:", err) },
	}
	for block := range r.heads {
		got := asking.run(ctx, Questions(r.cfg.State, r.random, block, r.cfg.Questions), block)
		r.seen.same += got.same
		r.seen.different += got.different
		r.seen.unanswered += got.unanswered
		if got.unanswered > 0 {
			r.print(fmt.Sprintf("  UNANSWERED: %d questions, asked for %v; the last: %v", got.unanswered, roundLimit, got.last))
		}
	}
	return nil
}
