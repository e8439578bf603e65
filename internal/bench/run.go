// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ethereum/go-ethereum/crypto/kzg4844"

	"github.com/sunbeam-eth/sunbeam/internal/witnessfile"
)

// Link is what blocks are measured over.
type Link string

const (
	// Virtual is a link in memory and in virtual time: trips are exact. With a round trip of 0 it
	// is a link in memory without delay, in real time: what is left is computing.
	Virtual Link = "virtual"
	// Loopback is TCP between two devp2p hosts in real time, delayed by a proxy.
	Loopback Link = "loopback"
)

// blockTimeout ends a block that gets no outcome, beyond what one request at a time takes.
const blockTimeout = 5 * time.Minute

// BlocksOptions says what to measure.
type BlocksOptions struct {
	Dir         string      // witness files
	Warm        []string    // witness files executed before, each for blocks of its chain above it
	StoredCode  bool        // contract code is in the store already, and which contract has which is known
	StoredState StoredState // state that is in the store already
	Strategies  []Strategy
	RTTs        []time.Duration // round trips of the link
	Peers       int             // that serve the block
	Link        Link
	JSON        bool // one object per block, strategy and round trip instead of a table
	Explain     bool // say what each trip waited for
	CPU         bool // the table has the processor time of each block
	Depth       bool // and the depth of its data dependency
}

func (o *BlocksOptions) check() error {
	switch {
	case len(o.Strategies) == 0:
		return errors.New("no strategy")
	case len(o.RTTs) == 0:
		return errors.New("no round-trip time")
	case o.Peers < 0:
		return fmt.Errorf("%d peers", o.Peers)
	case o.Link != Virtual && o.Link != Loopback:
		return fmt.Errorf("unknown link %q (%s or %s)", o.Link, Virtual, Loopback)
	}
	for _, rtt := range o.RTTs {
		if rtt < 0 {
			return fmt.Errorf("round-trip time %v is negative", rtt)
		}
	}
	return nil
}

// printer shows results as they come.
type printer interface {
	// print shows one block with one strategy, one result for each round-trip time.
	print(results []*BlockResult) error
	// sum shows what there is to say in the end.
	sum() error
}

// Blocks measures every witness file of a directory and writes as it goes. It
// fails if there is no file, or a file cannot be read, or an outcome is wrong: not valid, unless the
// file itself lacks what the block reads.
func Blocks(ctx context.Context, opts BlocksOptions, bubble Bubble, out io.Writer) error {
	if err := opts.check(); err != nil {
		return err
	}
	paths, err := witnessfile.Paths(opts.Dir)
	if err != nil {
		return err
	}
	if len(paths) == 0 {
		return fmt.Errorf("no witness files (*.json, *.json.gz) in %s", opts.Dir)
	}
	var warm []*witnessfile.File
	for _, path := range opts.Warm {
		file, err := witnessfile.Load(path)
		if err != nil {
			return err
		}
		warm = append(warm, file)
	}
	if opts.CPU {
		_ = kzg4844.UseCKZG(false) // prepares the setup, seconds that the first block with blobs would pay
	}
	var show printer = &table{out: out, opts: opts}
	if opts.JSON {
		show = jsonLines{json.NewEncoder(out)}
	}
	wrong, all := 0, 0
	for _, path := range paths {
		file, err := witnessfile.Load(path)
		if err != nil {
			return err
		}
		for _, strategy := range opts.Strategies {
			results, err := measure(ctx, Trial{
				File: file, Warm: before(warm, file), StoredCode: opts.StoredCode, StoredState: opts.StoredState,
				Strategy: strategy, Peers: opts.Peers, Explain: opts.Explain, Depth: opts.Depth,
			}, opts, bubble)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", path, strategy, err)
			}
			for _, r := range results {
				all++
				if !r.Right() {
					wrong++
				}
			}
			if err := show.print(results); err != nil {
				return err
			}
		}
	}
	if err := show.sum(); err != nil {
		return err
	}
	if wrong > 0 {
		return fmt.Errorf("%d of %d outcomes are wrong", wrong, all)
	}
	return nil
}

// before picks the files of the same chain whose blocks are older.
func before(files []*witnessfile.File, file *witnessfile.File) (older []*witnessfile.File) {
	for _, f := range files {
		if f.ChainID == file.ChainID && f.Number < file.Number {
			older = append(older, f)
		}
	}
	return older
}

// measure runs a trial at each round-trip time.
func measure(ctx context.Context, t Trial, opts BlocksOptions, bubble Bubble) (results []*BlockResult, err error) {
	size := t.File.Size()
	for _, rtt := range opts.RTTs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		t.RTT = rtt
		var result *BlockResult
		run := func(ctx context.Context) {
			reachBlockTime(t.File.Block)
			ctx, cancel := context.WithTimeout(ctx, blockTimeout+time.Duration(2*(size.Nodes+size.Codes)*(1+len(t.Warm)))*rtt)
			defer cancel()
			result, err = t.Run(ctx)
		}
		switch {
		case opts.Link == Loopback:
			t.Connect = overLoopback(rtt)
			run(ctx)
		case rtt == 0:
			t.Connect = inMemory(0)
			run(ctx)
		default:
			t.Connect = inMemory(rtt)
			// A channel made inside a bubble must not be waited on outside: no cancelling in there.
			bubble(func() { run(context.WithoutCancel(ctx)) })
		}
		if err != nil {
			return nil, err
		}
		results = append(results, result)
	}
	return results, nil
}

// jsonLines prints an object per result.
type jsonLines struct{ enc *json.Encoder }

func (j jsonLines) print(results []*BlockResult) error {
	for _, r := range results {
		if err := j.enc.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

func (jsonLines) sum() error { return nil }
