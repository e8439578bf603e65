package importer

import (
	"context"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/core/types"
)

// pending is one block in work and everyone who waits for its outcome.
type pending struct {
	block *types.Block
	since time.Time

	done   chan struct{} // closed by finish; status is set before
	status engine.PayloadStatusV1

	mu struct {
		sync.Mutex
		reason   error                   // why it was given up
		cancel   context.CancelCauseFunc // ends the work, once that has begun
		stage    string
		finished bool
	}
}

func newPending(block *types.Block) *pending {
	p := &pending{block: block, since: time.Now(), done: make(chan struct{})}
	p.mu.stage = "queued"
	return p
}

func (p *pending) number() uint64 { return p.block.NumberU64() }

// wait returns the outcome, or SYNCING when ctx ends first.
func (p *pending) wait(ctx context.Context) engine.PayloadStatusV1 {
	select {
	case <-p.done:
		return p.status
	case <-ctx.Done():
		return syncing()
	}
}

func (p *pending) finish(status engine.PayloadStatusV1) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.finished {
		return
	}
	p.mu.finished = true
	p.status = status
	close(p.done)
}

// giveUp tells the working goroutine to stop; it reports whether that was news.
func (p *pending) giveUp(reason error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.finished || p.mu.reason != nil {
		return false
	}
	p.mu.reason = reason
	if p.mu.cancel != nil {
		p.mu.cancel(reason)
	}
	return true
}

// begin notes how the work can be ended; a block that was given up before ends at once.
func (p *pending) begin(cancel context.CancelCauseFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.cancel = cancel
	if p.mu.reason != nil {
		cancel(p.mu.reason)
	}
}

// enter notes what the block is waiting for, for status and logs.
func (p *pending) enter(stage string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.stage = stage
}

func (p *pending) stage() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.stage
}
