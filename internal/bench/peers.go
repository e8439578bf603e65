// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sunbeam-eth/sunbeam/beamsync/prefetch"
	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/internal/witnessfile"
)

// crowdSlot is the time between two blocks: no wait may be longer.
const crowdSlot = 12 * time.Second

// PeersOptions says what to execute among bad peers.
type PeersOptions struct {
	Dir    string // witness files; those of the first one's chain are used, again and again
	Blocks int
	Bad    int // peers, of all kinds in turn; one good one is added
	RTT    time.Duration
	JSON   bool
}

// PeersResult is one block among bad peers.
type PeersResult struct {
	*BlockResult
	Stall float64 `json:"stall"` // longest time in which nothing arrived, seconds
}

// PeersSum is the whole run.
type PeersSum struct {
	Wrong     int            // outcomes
	Stall     time.Duration  // the longest
	Slow      int            // blocks that took longer than a slot
	Requests  map[string]int // by kind of peer
	LastTenth map[string]int // the same, of the last tenth of the blocks
	Blames    map[string]int // by kind of peer and reason
	Bytes     float64        // of all that came
	Twice     float64        // of those, bytes that came when nobody waited for them any longer
	seconds   []float64
}

// Err says what must not have happened.
func (s *PeersSum) Err() error {
	var errs []error
	if s.Wrong > 0 {
		errs = append(errs, fmt.Errorf("%d outcomes are wrong", s.Wrong))
	}
	if s.Stall > crowdSlot {
		errs = append(errs, fmt.Errorf("nothing arrived for %v", s.Stall))
	}
	return errors.Join(errs...)
}

// Peers executes blocks, each on an empty store, with one good peer among bad ones: empty, slow
// (5 s), lying, disconnecting. All in virtual time. It fails if an outcome is wrong or nothing
// arrived for longer than a slot.
func Peers(ctx context.Context, opts PeersOptions, bubble Bubble, out io.Writer) (*PeersSum, error) {
	if opts.Blocks < 1 || opts.Bad < 0 || opts.RTT <= 0 {
		return nil, fmt.Errorf("%d blocks, %d bad peers, round trip %v: too few", opts.Blocks, opts.Bad, opts.RTT)
	}
	paths, err := witnessfile.Paths(opts.Dir)
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("no witness files (*.json, *.json.gz) in %s", opts.Dir)
	}
	var files []*witnessfile.File
	for _, path := range paths[:min(len(paths), opts.Blocks)] {
		file, err := witnessfile.Load(path)
		if err != nil {
			return nil, err
		}
		if len(files) == 0 || file.ChainID == files[0].ChainID {
			files = append(files, file)
		}
	}
	sum := &PeersSum{Requests: make(map[string]int), LastTenth: make(map[string]int)}
	bubble(func() { err = runCrowd(context.WithoutCancel(ctx), opts, files, sum, out) })
	if err == nil && !opts.JSON {
		err = sum.write(out, opts)
	}
	return sum, errors.Join(err, sum.Err())
}

func runCrowd(ctx context.Context, opts PeersOptions, files []*witnessfile.File, sum *PeersSum, out io.Writer) error {
	for _, file := range files {
		reachBlockTime(file.Block)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	c := newCrowd(opts, files)
	group.Go(func() error { return c.fetcher.Run(ctx) })
	c.join(ctx, group)
	for n := range opts.Blocks {
		if n == opts.Blocks-(opts.Blocks+9)/10 {
			sum.LastTenth = c.requests()
		}
		r := c.block(ctx, files[n%len(files)], opts.RTT)
		sum.add(r)
		if err := writePeers(out, opts, n, r); err != nil {
			return err
		}
	}
	sum.Requests, sum.Blames = c.requests(), c.blames()
	sum.Bytes, sum.Twice = c.count("beam_bytes_total"), c.count("beam_duplicate_bytes_total")
	for kind, before := range sum.LastTenth {
		sum.LastTenth[kind] = sum.Requests[kind] - before
	}
	cancel()
	return group.Wait()
}

// block executes one block on an empty store.
func (c *crowd) block(ctx context.Context, file *witnessfile.File, rtt time.Duration) *PeersResult {
	c.serve(file)
	session := c.fetcher.Session(sched.Urgent)
	a := &attempt{
		client:  &client{store: c.store.forget(), fetcher: c.fetcher, executor: c.executor, prefetcher: prefetch.New(c.executor, c.store)},
		file:    file,
		headers: &ancestors{chain: c.chain, fetcher: c.fetcher},
		source:  &source{Session: session, file: file},
	}
	limited, cancel := context.WithTimeout(ctx, blockTimeout)
	defer cancel()
	begin := time.Now()
	result := a.run(limited, Beam)
	r := Trial{File: file, Strategy: Beam, RTT: rtt}.result(result, session.Stats(), time.Since(begin))
	r.hole = a.source.hole.Load() && result.Outcome == evm.Incomplete
	return &PeersResult{BlockResult: r, Stall: c.store.stall(begin).Seconds()}
}

func (s *PeersSum) add(r *PeersResult) {
	if !r.Right() {
		s.Wrong++
	}
	s.Stall = max(s.Stall, time.Duration(r.Stall*float64(time.Second)))
	if r.Seconds > crowdSlot.Seconds() {
		s.Slow++
	}
	s.seconds = append(s.seconds, r.Seconds)
}

func writePeers(out io.Writer, opts PeersOptions, n int, r *PeersResult) error {
	if opts.JSON {
		return json.NewEncoder(out).Encode(r)
	}
	if n == 0 {
		if _, err := fmt.Fprintf(out, "1 good peer, %d bad ones, %v round trip, virtual time\n%4s %9s %-10s %8s %8s %6s %8s %8s %7s\n",
			opts.Bad, opts.RTT, "", "block", "outcome", "needed", "fetched", "trips", "requests", "seconds", "stall"); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(out, "%4d %9d %-10s %8d %8d %6.0f %8d %8.1f %7.1f\n", n+1, r.Number, r.Outcome, r.NodesNeeded, r.NodesFetched,
		r.Trips, r.Requests, r.Seconds, r.Stall)
	return err
}

func (s *PeersSum) write(out io.Writer, opts PeersOptions) error {
	_, err := fmt.Fprintf(out, "\n%d blocks: %d wrong outcomes, longest stall %.1f s, %d blocks longer than %v; seconds p50 %.1f, p99 %.1f, most %.1f\n"+
		"requests by kind of peer: %v\nin the last tenth of the blocks: %v\nblames: %v\n%.1f MB received, %.1f MB of them in vain\n",
		opts.Blocks, s.Wrong, s.Stall.Seconds(), s.Slow, crowdSlot, quantile(s.seconds, 0.5), quantile(s.seconds, 0.99), quantile(s.seconds, 1),
		s.Requests, s.LastTenth, s.Blames, s.Bytes/1e6, s.Twice/1e6)
	return err
}
