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
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/internal/demo"
	"github.com/sunbeam-eth/sunbeam/internal/gethpeer"
	"github.com/sunbeam-eth/sunbeam/internal/mockcl"
	"github.com/sunbeam-eth/sunbeam/internal/stategen"
)

const (
	// fewestBlocks are compared with and without backfill: less says nothing about the slowest twentieth.
	fewestBlocks = 20
	// oldEnough is how many blocks a chain must have for geth to snap-sync it: it takes the state 64 blocks
	// below the head, and fails if that is the genesis.
	oldEnough = 80
)

// BackfillOptions says what a fresh node is to become full from.
type BackfillOptions struct {
	TestbedOptions
	Peers   int           // geths that have the state
	Versus  string        // "geth": let a fresh one sync by its own means as well; empty: nobody
	Kills   int           // how often the node is killed in one more run, to count what is fetched twice
	Alone   bool          // run without backfill too, to compare the blocks' times
	Until   string        // "full": the phase; "flat": that and the whole flat state; "state": one state is complete
	Engine  string        // of the node's database; empty: the node's default
	Timeout time.Duration // for each run
}

func (o *BackfillOptions) check() error {
	switch {
	case o.Peers < 1:
		return fmt.Errorf("%d peers", o.Peers)
	case o.Timeout <= 0 || o.Kills < 0:
		return fmt.Errorf("timeout %v, %d kills: a run needs time, and kills cannot be negative", o.Timeout, o.Kills)
	case o.Versus != "" && o.Versus != "geth":
		return fmt.Errorf("compare with %q: only geth is known", o.Versus)
	case o.Until != "full" && o.Until != "flat" && o.Until != "state":
		return fmt.Errorf("until %q: full, flat or state", o.Until)
	}
	return o.TestbedOptions.check(100_000)
}

// BackfillState is a generated state with so many accounts and slots, in the proportions of
// stategen.Large, a third of the slots in one contract.
func BackfillState(accounts, slots int) stategen.Spec {
	spec := StateOf(accounts)
	spec.Slots, spec.Largest = slots, slots/3
	spec.Contracts = max(spec.Contracts, 2)
	spec.Codes = min(spec.Codes, spec.Contracts)
	return spec
}

// BackfillResult is the outcome. Times are in seconds from a process's start.
type BackfillResult struct {
	Full              bool    `json:"full"`              // the phase was reached
	Verified          bool    `json:"verified"`          // what is on disk is one complete state and nothing else
	Seconds           float64 `json:"seconds"`           // to the phase full
	GethSeconds       float64 `json:"gethSeconds"`       // to geth's first VALID
	Ratio             float64 `json:"ratio"`             // of the two
	Bytes             int64   `json:"bytes"`             // received from all peers, blocks' state included
	GethBytes         int64   `json:"gethBytes"`         // likewise
	RSS               uint64  `json:"rss"`               // bytes, most
	FirstValidSeconds float64 `json:"firstValidSeconds"` // to the first VALID
	P95Ratio          float64 `json:"p95Ratio"`          // newPayload to VALID, with backfill and without
	RefetchedShare    float64 `json:"refetchedShare"`    // bytes received more with kills than without, to the latter

	BackfillBlocks
	BackfillCosts
	db.StateReport
}

// BackfillBlocks is how blocks went meanwhile.
type BackfillBlocks struct {
	P95        float64 `json:"p95"`      // seconds from newPayload to VALID during the backfill
	P95Alone   float64 `json:"p95Alone"` // without
	P50        float64 `json:"p50"`
	P50Alone   float64 `json:"p50Alone"`
	Blocks     int     `json:"blocks"` // that the consensus client published until the phase full
	Valid      int     `json:"valid"`
	StateAfter float64 `json:"stateSeconds"` // to the completion of one state
}

// BackfillCosts is what the processes took of the machine.
type BackfillCosts struct {
	CPU       float64 `json:"cpuSeconds"`   // of the node
	Written   uint64  `json:"writtenBytes"` // by the node, to the disk or the system's cache of it
	PeersCPU  float64 `json:"peersCPUSeconds"`
	GethCPU   float64 `json:"gethCPUSeconds"`
	GethPeers float64 `json:"gethPeersCPUSeconds"`
	GethRSS   uint64  `json:"gethRSS"`
	Disk      int64   `json:"diskBytes"` // of the node, at its end
	Kills     int     `json:"kills"`
}

// Backfill lets a fresh node become full from geths while their chain grows, has stock geth do
// the same by its snap sync, and prints the comparison; the last line is a BackfillResult.
func Backfill(ctx context.Context, opts BackfillOptions, out io.Writer) (result *BackfillResult, err error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	testbed, err := opts.newTestbed(ctx, opts.Peers)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, testbed.Close()) }()
	r := &race{opts: opts, testbed: testbed, result: new(BackfillResult), old: make(chan struct{})}
	if err := errors.Join(testbed.RunScenario(ctx, r.run, r.chain), ctx.Err()); err != nil {
		return nil, err
	}
	if !opts.JSON {
		r.result.table(out, &opts)
	}
	return r.result, json.NewEncoder(out).Encode(r.result)
}

// race is one comparison: laps on one chain that goes on all the time.
type race struct {
	opts    BackfillOptions
	testbed *demo.Testbed
	result  *BackfillResult
	old     chan struct{}                   // closed when the chain is old enough
	racer   atomic.Pointer[mockcl.Follower] // who is told of new blocks; nil between laps
}

// chain has blocks built until ctx ends.
func (r *race) chain(ctx context.Context) error {
	chain := mockcl.Chain{
		Builder:      r.testbed.Builder,
		Blocks:       max(0, oldEnough-int(r.testbed.Builder.Head().Number.Uint64())),
		Transactions: func(uint64, *big.Int) []*types.Transaction { return nil },
		Built:        func(*mockcl.Payload) {},
	}
	if chain.Blocks > 0 {
		if err := r.follow(&chain).Run(ctx); err != nil {
			return err
		}
	}
	close(r.old)
	chain = mockcl.Chain{
		Builder: r.testbed.Builder,
		Slot:    r.opts.Slot,
		Transactions: func(uint64, *big.Int) []*types.Transaction {
			return r.testbed.Traffic.Block(r.opts.Gas, backfillMix())
		},
		Built: func(p *mockcl.Payload) {
			if follower := r.racer.Load(); follower != nil {
				follower.Publish(p)
			}
		},
	}
	return r.follow(&chain).Run(ctx)
}

// follow has the other geths follow a chain.
func (r *race) follow(chain *mockcl.Chain) *mockcl.Chain {
	for _, other := range r.testbed.ExtraGeths {
		chain.Followers = append(chain.Followers, mockcl.NewFollower(other.Engine, r.opts.Slot, func(mockcl.Record) {}, slog.New(slog.DiscardHandler)))
	}
	return chain
}

// backfillMix changes random accounts and slots, and reads others.
func backfillMix() stategen.Mix {
	mix := stategen.Light()
	mix.Writes, mix.Clears = 30, 5
	return mix
}

func (r *race) run(ctx context.Context) error {
	select {
	case <-r.old:
	case <-ctx.Done():
		return ctx.Err()
	}
	beam, err := r.beam(ctx, "sunbeam", 0, 0)
	if err != nil {
		return err
	}
	res := r.result
	res.Full, res.StateReport, res.Verified = beam.full, beam.verdict, beam.verdict.Complete()
	res.Seconds, res.StateAfter, res.FirstValidSeconds = beam.seconds, beam.stateAfter, beam.firstValid()
	res.Bytes, res.RSS, res.CPU, res.PeersCPU, res.Disk = beam.bytes, beam.rss, beam.cpu, beam.peersCPU, beam.disk
	res.Written = beam.written
	res.Blocks, res.Valid = len(beam.records), beam.valid()
	res.P50, res.P95 = quantile(beam.latencies(), 0.5), quantile(beam.latencies(), 0.95)
	if r.opts.Versus == "geth" {
		geth, err := r.geth(ctx)
		if err != nil {
			return err
		}
		res.GethSeconds, res.GethBytes, res.GethCPU, res.GethPeers, res.GethRSS = geth.seconds, geth.bytes, geth.cpu, geth.peersCPU, geth.rss
		res.Ratio = res.Seconds / res.GethSeconds
	}
	if r.opts.Alone {
		alone, err := r.beam(ctx, "alone", min(max(len(beam.records), fewestBlocks), 2*fewestBlocks), 0)
		if err != nil {
			return err
		}
		res.P50Alone, res.P95Alone = quantile(alone.latencies(), 0.5), quantile(alone.latencies(), 0.95)
		res.P95Ratio = res.P95 / res.P95Alone
	}
	if r.opts.Kills > 0 {
		killed, err := r.beam(ctx, "killed", 0, r.opts.Kills)
		if err != nil {
			return err
		}
		res.Kills = killed.kills
		res.Verified = res.Verified && killed.verdict.Complete()
		res.RefetchedShare = float64(killed.background()-beam.background()) / float64(beam.background())
	}
	return nil
}

// geths are those that serve.
func (r *race) geths() []*gethpeer.Process {
	all := []*gethpeer.Process{r.testbed.Geth}
	for _, other := range r.testbed.ExtraGeths {
		all = append(all, other.Geth)
	}
	return all
}
