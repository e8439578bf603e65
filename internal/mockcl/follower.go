// SPDX-License-Identifier: LGPL-3.0-or-later

package mockcl

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
)

// Record tells what became of one block at one node.
type Record struct {
	Client  string
	Number  uint64
	Hash    common.Hash
	Txs     int
	GasUsed uint64
	Status  string        // VALID or INVALID; SYNCING if it was never said to be either
	Syncing int           // how often newPayload answered SYNCING or ACCEPTED
	Implied bool          // VALID by a descendant
	Latency time.Duration // from the block's publication to its first VALID or INVALID
	Err     string        // the last failed call or the reason of INVALID; empty if none
}

// Follower delivers blocks to one node and records its verdicts. Publish may be called
// from any goroutine.
type Follower struct {
	// Builds says on which blocks the node is to build the next one, as that of a validator whose turn it is; nil: on none.
	Builds func(*Payload) bool

	client *Client
	slot   time.Duration
	report func(Record)
	log    *slog.Logger

	wake chan struct{} // has room for one

	mu       sync.Mutex
	incoming []*openBlock
	ended    bool
}

// openBlock is a block that the node has neither accepted nor refused.
type openBlock struct {
	payload   *Payload
	published time.Time
	record    Record
}

// NewFollower makes a follower. A block that stays open is asked about again after slot.
// Report is called once for each block, in order, from Run.
func NewFollower(client *Client, slot time.Duration, report func(Record), log *slog.Logger) *Follower {
	return &Follower{client: client, slot: slot, report: report, log: log, wake: make(chan struct{}, 1)}
}

// Publish sends the next block.
func (f *Follower) Publish(p *Payload) {
	f.mu.Lock()
	f.incoming = append(f.incoming, &openBlock{
		payload:   p,
		published: time.Now(),
		record: Record{
			Client: f.client.name, Number: p.Data.Number, Hash: p.Data.BlockHash,
			Txs: len(p.Data.Transactions), GasUsed: p.Data.GasUsed,
		},
	})
	f.mu.Unlock()
	f.signal()
}

// End says that no more blocks come: Run returns when all have a verdict.
func (f *Follower) End() {
	f.mu.Lock()
	f.ended = true
	f.mu.Unlock()
	f.signal()
}

func (f *Follower) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *Follower) next() (p *openBlock, ended bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.incoming) == 0 {
		return nil, f.ended
	}
	p, f.incoming = f.incoming[0], f.incoming[1:]
	return p, false
}

// Run delivers blocks to the node until ctx ends, or after End until all have a verdict. Blocks
// without one are reported then, as SYNCING.
func (f *Follower) Run(ctx context.Context) error {
	var open []*openBlock // ancestors first
	defer func() {
		for _, p := range open {
			p.record.Status = engine.SYNCING
			f.report(p.record)
		}
	}()
	for {
		p, ended := f.next()
		switch {
		case p != nil:
			open = append(open, p)
		case ended && len(open) == 0:
			return nil
		case !f.await(ctx, len(open) > 0):
			return nil
		case len(open) == 0 || f.waiting():
			continue
		}
		open = f.deliver(ctx, open)
		if ctx.Err() != nil {
			return nil
		}
	}
}

func (f *Follower) waiting() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.incoming) > 0
}

// await waits for the next block or, if one is open, for the time to ask again. It
// reports false when ctx ends.
func (f *Follower) await(ctx context.Context, open bool) bool {
	var again <-chan time.Time
	if open {
		timer := time.NewTimer(f.slot)
		defer timer.Stop()
		again = timer.C
	}
	for {
		select {
		case <-ctx.Done():
			return false
		case <-again:
			return true
		case <-f.wake:
			f.mu.Lock()
			news := len(f.incoming) > 0 || f.ended && !open
			f.mu.Unlock()
			if news {
				return true
			}
		}
	}
}

// deliver tells the node about the newest open block and returns what is open then.
func (f *Follower) deliver(ctx context.Context, open []*openBlock) []*openBlock {
	newest := open[len(open)-1]
	status, err := f.client.NewPayload(ctx, newest.payload)
	if err == nil && status.Status != engine.INVALID {
		if status.Status != engine.VALID {
			newest.record.Syncing++
		}
		var choice engine.PayloadStatusV1
		choose := f.client.Forkchoice
		if f.Builds != nil && f.Builds(newest.payload) {
			choose = f.client.ForkchoiceAndBuild
		}
		if choice, err = choose(ctx, newest.payload); err == nil && status.Status != engine.VALID {
			status = choice
		}
	}
	if err != nil {
		newest.record.Err = err.Error() // a VALID block that was not made the head, for one
		if ctx.Err() == nil {
			f.log.Warn("Engine API call failed", "client", f.client.name, "number", newest.record.Number, "err", err)
		}
		if status.Status != engine.VALID {
			return open
		}
	}
	switch status.Status {
	case engine.VALID:
		f.resolve(open, engine.VALID, "")
		return nil
	case engine.INVALID:
		f.resolve(open[:len(open)-1], engine.SYNCING, "")
		f.resolve(open[len(open)-1:], engine.INVALID, reason(status))
		return nil
	}
	return open
}

func (f *Follower) resolve(blocks []*openBlock, status, reason string) {
	for i, p := range blocks {
		p.record.Status = status
		p.record.Implied = status == engine.VALID && i < len(blocks)-1
		p.record.Latency = time.Since(p.published)
		if reason != "" {
			p.record.Err = reason
		}
		f.report(p.record)
	}
}

func reason(status engine.PayloadStatusV1) string {
	if status.ValidationError == nil {
		return "no reason given"
	}
	return *status.ValidationError
}
