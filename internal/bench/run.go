package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sunbeam-eth/sunbeam/internal/witness"
)

// Link is what blocks are measured over.
type Link string

const (
	// Virtual is a link in memory and in virtual time: trips are exact.
	Virtual Link = "virtual"
	// Loopback is TCP between two devp2p hosts in real time, delayed by a proxy.
	Loopback Link = "loopback"
)

// blockTimeout ends a block that gets no outcome: far above what one request at a time takes
// for the largest witness. In virtual time it costs nothing.
const blockTimeout = 5 * time.Minute

// BlocksOptions says what to measure.
type BlocksOptions struct {
	Dir  string        // witness files
	RTT  time.Duration // round trip of the link
	Link Link
	JSON bool // one object per block instead of a table
}

// Blocks measures every witness file of a directory and writes a line for each as it goes. It
// fails if there is no file, or a file cannot be read, or an outcome is wrong: not valid, unless the
// file itself lacks what the block reads.
func Blocks(ctx context.Context, opts BlocksOptions, bubble Bubble, out io.Writer) error {
	paths, err := witness.Paths(opts.Dir)
	if err != nil {
		return err
	}
	if len(paths) == 0 {
		return fmt.Errorf("no witness files (*.json, *.json.gz) in %s", opts.Dir)
	}
	write := writeTable(out, opts)
	if opts.JSON {
		write = writeJSON(out)
	}
	var wrong int
	for _, path := range paths {
		if err := ctx.Err(); err != nil {
			return err
		}
		file, err := witness.Load(path)
		if err != nil {
			return err
		}
		result, err := measure(ctx, file, opts, bubble)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if !result.Right() {
			wrong++
		}
		if err := write(result); err != nil {
			return err
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%d of %d blocks have a wrong outcome", wrong, len(paths))
	}
	return nil
}

func measure(ctx context.Context, file *witness.File, opts BlocksOptions, bubble Bubble) (result *BlockResult, err error) {
	run := func(ctx context.Context, connect Connect) {
		reachBlockTime(file.Block)
		ctx, cancel := context.WithTimeout(ctx, blockTimeout)
		defer cancel()
		result, err = RunBlock(ctx, file, connect, opts.RTT)
	}
	switch opts.Link {
	case Virtual:
		if opts.RTT <= 0 {
			return nil, errors.New("a virtual link needs a round-trip time above zero: time is all that it has")
		}
		// A channel made inside a bubble must not be waited on outside: no cancelling in there.
		bubble(func() { run(context.WithoutCancel(ctx), inMemory(opts.RTT)) })
	case Loopback:
		run(ctx, overLoopback(opts.RTT))
	default:
		return nil, fmt.Errorf("unknown link %q (%s or %s)", opts.Link, Virtual, Loopback)
	}
	return result, err
}

func writeJSON(out io.Writer) func(*BlockResult) error {
	enc := json.NewEncoder(out)
	return func(r *BlockResult) error { return enc.Encode(r) }
}

func writeTable(out io.Writer, opts BlocksOptions) func(*BlockResult) error {
	header := fmt.Sprintf("%s link, %s round trip\n%9s %9s %-10s %5s %7s %7s %8s %5s %9s %8s %9s %9s\n", opts.Link, opts.RTT,
		"chain", "block", "outcome", "txs", "Mgas", "needed", "fetched", "codes", "bytes", "trips", "requests", "seconds")
	return func(r *BlockResult) error {
		line := fmt.Sprintf("%9d %9d %-10s %5d %7.1f %7d %8d %5d %9d %8.1f %9d %9.3f\n", r.ChainID, r.Number, r.Outcome,
			r.Transactions, float64(r.Gas)/1e6, r.NodesNeeded, r.NodesFetched, r.Codes, r.Bytes, r.Trips, r.Requests, r.Seconds)
		if r.Error != "" {
			line += "          " + r.Error + "\n"
		}
		_, err := io.WriteString(out, header+line)
		header = ""
		return err
	}
}
