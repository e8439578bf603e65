// SPDX-License-Identifier: LGPL-3.0-or-later

package payloadbuilder

import (
	"context"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/evm"
)

// payload is the best block so far for one set of attributes.
type payload struct {
	id          engine.PayloadID
	parent      *types.Header
	header      *types.Header // as far as it is known before the execution
	withdrawals types.Withdrawals
	started     time.Time

	wanted context.Context //nolint:containedctx // ends when the payload is asked for
	want   context.CancelFunc

	mu       sync.Mutex
	best     *evm.Built // nil until the empty block is there
	verified *evm.Built // the newest one that was verified
	improves bool       // more may come
	changed  chan struct{}
}

func newPayload(id engine.PayloadID, parent, header *types.Header, withdrawals types.Withdrawals) *payload {
	p := &payload{id: id, parent: parent, header: header, withdrawals: withdrawals, started: time.Now(), improves: true, changed: make(chan struct{})}
	p.wanted, p.want = context.WithCancel(context.Background()) // ends with the payload
	return p
}

// current returns the best block, whether it may improve, and what is closed at the next change.
func (p *payload) current() (best *evm.Built, improves bool, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.best, p.improves, p.changed
}

// change changes the payload and wakes those who wait for it.
func (p *payload) change(do func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	do()
	close(p.changed)
	p.changed = make(chan struct{})
}

// offer makes a block the best one if it is the first, or pays more.
func (p *payload) offer(built *evm.Built) (better bool) {
	p.change(func() {
		if better = p.best == nil || built.Value.Cmp(p.best.Value) > 0; better {
			p.best = built
		}
	})
	return better
}

// confirm records that the best block was verified.
func (p *payload) confirm(built *evm.Built) {
	p.change(func() { p.verified = built })
}

// withdraw goes back to the last block that was verified.
func (p *payload) withdraw(built *evm.Built) {
	p.change(func() {
		if p.best == built {
			p.best = p.verified
		}
	})
}

// end says that the payload does not improve any more.
func (p *payload) end() {
	p.want()
	p.change(func() { p.improves = false })
}

const (
	// graceTime is how long the first round may add transactions after the payload was asked for.
	graceTime = 80 * time.Millisecond
	// sealTime is how long a payload without transactions waits for the first round: the grace time, and the time
	// to compute the roots, which takes longest on a busy machine. An empty block costs all fees.
	sealTime = 400 * time.Millisecond
	// emptyTime is how long it waits for the empty block, if that still misses state. Consensus clients wait
	// for 1 s (execution-apis, engine_getPayload).
	emptyTime = 800 * time.Millisecond
)

// resolve ends the rounds and returns the best block. If that has no transactions, it waits for the first round. It
// returns nil if the empty block is not there in time; its fetching goes on then.
func (p *payload) resolve(ctx context.Context) *evm.Built {
	began := time.Now()
	if best, _, _ := p.current(); best != nil && len(best.Block.Transactions()) > 0 {
		p.want()
	} else {
		defer time.AfterFunc(graceTime, p.want).Stop()
	}
	for {
		best, improves, changed := p.current()
		limit := emptyTime
		if best != nil {
			limit = sealTime
			if len(best.Block.Transactions()) > 0 || !improves {
				p.want()
				return best
			}
		}
		timer := time.NewTimer(time.Until(began.Add(limit)))
		select {
		case <-changed:
			timer.Stop()
			continue
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
		best, _, _ = p.current()
		if best != nil {
			p.want()
		}
		return best
	}
}
