// SPDX-License-Identifier: LGPL-3.0-or-later

package payloadbuilder

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// fetchingInterval is the time between rounds while state arrives that candidates wait for.
const fetchingInterval = 500 * time.Millisecond

const (
	// roundTime bounds the time in which a round adds transactions: the interval between rounds, as in go-ethereum.
	roundTime = defaultRecommit
	// interimTime is when a round that goes on offers its block for the first time; then each time after twice as long. So
	// a slow machine soon has a block with transactions, and at most half of the time is lost when the payload is asked for.
	interimTime = 150 * time.Millisecond
)

// retryDelay is the time until an empty block is built again that missed state which nobody can name.
const retryDelay = 50 * time.Millisecond

// improve builds blocks for a payload until it is asked for, its lifetime is over or ctx ends.
func (b *Builder) improve(ctx context.Context, p *payload) {
	ctx, cancel := context.WithTimeout(ctx, lifetime)
	defer cancel()
	defer p.end()
	if !b.awaitEmpty(ctx, p) {
		return
	}
	stop := context.AfterFunc(p.wanted, cancel)
	defer stop()
	fetch := newFetching(b, p)
	defer fetch.running.Wait()
	defer cancel() // before the wait
	paced := newPacedState(ctx, b)
	for ctx.Err() == nil {
		began, moved := time.Now(), b.cfg.Pool.Moved()
		r := b.newRound(p)
		r.paced = paced
		best := b.improveOnce(ctx, r)
		p.roundEnded()
		if best != nil {
			b.check(p, best, paced)
		}
		pause := b.settings.Recommit
		if fetch.start(ctx, r) {
			pause = min(pause, fetchingInterval)
		}
		timer := time.NewTimer(max(pause-time.Since(began), 0))
		select {
		case <-timer.C:
		case <-moved: // the pool follows the head, on which the payload is built, after a moment
		case <-fetch.arrived:
			fetch.busy = false
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// improveOnce runs one round. It returns its best block if that became the payload's.
func (b *Builder) improveOnce(ctx context.Context, r *round) (best *offer) {
	if b.rounds.Acquire(ctx, 1) != nil {
		return nil
	}
	defer b.rounds.Release(1)
	began := time.Now()
	offer := func(built *evm.Built) {
		better := r.p.offer(built)
		if better == nil {
			return
		}
		best = better
		b.log.Info("Payload improved", "id", r.p.id, "number", r.p.header.Number, "hash", built.Block.Hash(), "txs", len(built.Block.Transactions()),
			"mgas", float64(built.Block.GasUsed())/1e6, "value", ether(built.Value), "left_out", r.missed, "elapsed", time.Since(began).Round(time.Millisecond))
	}
	built, err := r.fromPool(ctx, offer)
	b.metrics.roundSeconds.Observe(time.Since(began).Seconds())
	b.metrics.leftOut.Add(float64(r.missed))
	switch {
	case err == nil:
		offer(built)
	case errors.Is(err, evm.ErrStateMissing):
		b.log.Debug("Payload not improved: state is missing", "id", r.p.id)
	default:
		b.log.Error("Failed to build a payload with transactions", "id", r.p.id, "number", r.p.header.Number, "err", err)
	}
	return best
}

// buildEmpty builds and verifies the block without transactions, in a round of its own.
func (b *Builder) buildEmpty(ctx context.Context, p *payload, r *round) error {
	built, err := r.exactly(ctx, nil)
	if err == nil {
		err = b.verify(ctx, p, built, b.cfg.State(p.parent.Root).Store)
	}
	if err != nil {
		return err
	}
	p.confirm(p.offer(built))
	return nil
}

// awaitEmpty fetches what the empty block needs until it is there. It goes on if the payload is asked for meanwhile.
func (b *Builder) awaitEmpty(ctx context.Context, p *payload) bool {
	if best, _, _ := p.current(); best != nil {
		return true
	}
	began := time.Now()
	_ = b.cfg.Fetcher.Prefetch(ctx, p.block(nil), p.parent) // a hint: what it misses is fetched below
	for ctx.Err() == nil {
		r := b.newRound(p)
		err := b.buildEmpty(ctx, p, r)
		switch {
		case err == nil:
			b.log.Info("Empty payload is ready", "id", p.id, "number", p.header.Number, "elapsed", time.Since(began).Round(time.Millisecond))
			return true
		case !isMissing(err):
			if ctx.Err() == nil {
				b.log.Error("Failed to build an empty payload", "id", p.id, "number", p.header.Number, "err", err)
			}
			return false
		}
		faults, codes := r.state.Missing()
		if len(faults)+len(codes) == 0 { // the local store changes with the phase of the node
			sleep(ctx, retryDelay)
		}
		if err := b.cfg.Fetcher.Fetch(ctx, faults, codes); err != nil && ctx.Err() == nil {
			b.log.Error("Failed to fetch the state of an empty payload", "id", p.id, "number", p.header.Number, "err", err)
			return false
		}
	}
	return false
}

// isMissing says whether an error is about local state that is missing.
func isMissing(err error) bool {
	return errors.Is(err, evm.ErrStateMissing) || errors.Is(err, trie.ErrUnavailable)
}

func sleep(ctx context.Context, duration time.Duration) {
	select {
	case <-time.After(duration):
	case <-ctx.Done():
	}
}

// check verifies a block that is offered already, and withdraws it if it is not valid.
func (b *Builder) check(p *payload, o *offer, paced *pacedState) {
	switch err := b.verify(paced.ctx, p, o.Built, paced.forVerification(b.cfg.State(p.parent.Root).Store)); {
	case paced.ctx.Err() != nil: // it is too late
	case err == nil:
		p.confirm(o)
	default:
		p.withdraw(o)
		b.log.Error("Built payload is not valid, please report this bug; an earlier one is offered", "id", p.id, "number", p.header.Number, "err", err)
	}
}

// verify executes a block as if the consensus client had sent it.
func (b *Builder) verify(ctx context.Context, p *payload, built *evm.Built, store trie.Store) error {
	if err := chain.VerifyHeader(b.cfg.Chain.Config(), built.Block.Header(), p.parent); err != nil {
		return fmt.Errorf("built block has an invalid header: %w", err)
	}
	if err := chain.VerifyBody(b.cfg.Chain.Config(), built.Block); err != nil {
		return fmt.Errorf("built block has an invalid body: %w", err)
	}
	began := time.Now()
	defer func() { b.metrics.verifySeconds.Observe(time.Since(began).Seconds()) }()
	result := b.cfg.Executor.Execute(ctx, evm.Job{
		Block: built.Block, Parent: p.parent, Headers: localHeaders{b.cfg.Chain},
		State: localState{trie.Open(ctx, p.parent.Root, store, nil)},
	})
	if result.Outcome != evm.Valid {
		return fmt.Errorf("built block is %v: %w", result.Outcome, result.Err)
	}
	return nil
}

// localState has a type of its own, so that the executor does not learn from a block that may never be in the chain.
type localState struct{ *trie.StateDatabase }

// localHeaders finds ancestors in the store only.
type localHeaders struct{ chain Chain }

func (h localHeaders) Header(_ context.Context, hash common.Hash, number uint64) (*types.Header, error) {
	if header := h.chain.Header(hash); header != nil {
		return header, nil
	}
	return nil, fmt.Errorf("header of block %d is not stored: %w", number, trie.ErrUnavailable)
}
