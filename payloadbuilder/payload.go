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

// offer is a block that is ready to be returned.
type offer struct {
	*evm.Built
	envelope *Envelope
}

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
	best     *offer // nil until the empty block is there
	verified *offer // the newest one that was verified
	tried    bool   // a round has ended, so that there is nothing to wait for
	changed  chan struct{}
}

func newPayload(id engine.PayloadID, parent, header *types.Header, withdrawals types.Withdrawals) *payload {
	p := &payload{id: id, parent: parent, header: header, withdrawals: withdrawals, started: time.Now(), changed: make(chan struct{})}
	p.wanted, p.want = context.WithCancel(context.Background()) // ends with the payload
	return p
}

// current returns the best block, whether a round has ended, and what is closed at the next change.
func (p *payload) current() (best *offer, tried bool, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.best, p.tried, p.changed
}

// change changes the payload and wakes those who wait for it.
func (p *payload) change(do func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	do()
	close(p.changed)
	p.changed = make(chan struct{})
}

// offer makes a block the best one if it is the first, or pays more. It is encoded before. It returns nil if it does not.
func (p *payload) offer(built *evm.Built) *offer {
	if best, _, _ := p.current(); best != nil && built.Value.Cmp(best.Value) <= 0 {
		return nil
	}
	o := &offer{built, envelopeOf(built)}
	p.change(func() {
		if p.best != nil && built.Value.Cmp(p.best.Value) <= 0 {
			o = nil
			return
		}
		p.best = o
	})
	return o
}

// confirm records that a block was verified.
func (p *payload) confirm(o *offer) {
	p.change(func() { p.verified = o })
}

// withdraw goes back to the last block that was verified.
func (p *payload) withdraw(o *offer) {
	p.change(func() {
		if p.best == o {
			p.best = p.verified
		}
	})
}

// roundEnded records that a round has ended.
func (p *payload) roundEnded() {
	p.change(func() { p.tried = true })
}

// end says that there will be no more rounds.
func (p *payload) end() {
	p.want()
	p.roundEnded()
}

const (
	// graceTime is how long the first round may add transactions after the payload was asked for.
	graceTime = 80 * time.Millisecond
	// sealTime is how long a payload without transactions waits for the first round: the grace time, and the time
	// to compute the roots. An empty block costs all fees.
	sealTime = 180 * time.Millisecond
	// emptyTime is how long it waits for the empty block, if that still misses state. Consensus clients wait
	// for 1 s (execution-apis, engine_getPayload).
	emptyTime = 800 * time.Millisecond
)

// resolve ends the rounds and returns the best block. It waits only if that has no transactions and the first round runs.
// It returns nil if the empty block is not there in time; its fetching goes on then.
func (p *payload) resolve(ctx context.Context) *offer {
	began := time.Now()
	best, tried, changed := p.current()
	if best == nil || !best.final(tried) {
		defer time.AfterFunc(graceTime, p.want).Stop()
	}
	for {
		limit := emptyTime
		if best != nil {
			if best.final(tried) {
				p.want()
				return best
			}
			limit = sealTime
		}
		timer := time.NewTimer(time.Until(began.Add(limit)))
		select {
		case <-changed:
			timer.Stop()
			best, tried, changed = p.current()
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

// final says whether there is nothing to wait for.
func (o *offer) final(tried bool) bool { return tried || len(o.Block.Transactions()) > 0 }
