// SPDX-License-Identifier: LGPL-3.0-or-later

package payloadbuilder

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus/misc/eip4844"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/txpool"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"

	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/trie"
)

const (
	// maxLeftOut and maxLeftOutBlocks bound the transactions of one prefetch, in number and in blocks full of gas limits: what is left out now
	// must be there in the next round, or nearly. Mainnet's blocks have some 200.
	maxLeftOut       = 400
	maxLeftOutBlocks = 2
	// sealTrips and sealFetchTime bound what a round fetches to compute its root. Most need one trip, or none.
	sealTrips     = 3
	sealFetchTime = 500 * time.Millisecond
	// busyPoll is how often a paused round looks whether the import has ended.
	busyPoll = 2 * time.Millisecond
)

// round builds one block for a payload.
type round struct {
	b      *Builder
	p      *payload
	paced  *pacedState // nil: the round does not give way to imports
	state  *trie.PartialState
	added  []*types.Transaction // in the draft, with sidecars
	missed int                  // transactions that missed state

	leftOut    []*types.Transaction // the best of those and of what waits for them, to be prefetched
	leftOutGas uint64               // sum of their limits
}

// newRound begins on the state that is local now.
func (b *Builder) newRound(p *payload) *round { return &round{b: b, p: p} }

// draft begins a block. The caller closes it.
func (r *round) draft(ctx context.Context) (*evm.Draft, error) {
	p, config := r.p, r.b.cfg.Chain.Config()
	local := r.b.cfg.State(p.parent.Root)
	if r.paced != nil {
		local.Store = r.paced.over(local.Store)
	}
	r.state = trie.NewLookupCache(p.parent.Root, local.Store).State()
	return r.b.cfg.Executor.NewDraft(ctx, evm.DraftJob{
		Header:      p.header,
		Parent:      p.parent,
		Withdrawals: p.withdrawals,
		State:       r.state,
		Complete:    local.Complete,
		MaxBlobs:    r.b.maxBlobs(config, p.header),
		LocalHeader: func(hash common.Hash, _ uint64) *types.Header { return r.b.cfg.Chain.Header(hash) },
	})
}

// maxBlobs is the limit of the fork, or that of the operator if it is lower.
func (b *Builder) maxBlobs(config *params.ChainConfig, header *types.Header) int {
	if !config.IsCancun(header.Number, header.Time) {
		return 0
	}
	limit := eip4844.MaxBlobsPerBlock(config, header.Time)
	if b.settings.MaxBlobs > 0 {
		limit = min(limit, b.settings.MaxBlobs)
	}
	return limit
}

// exactly builds a block of these transactions, all of which must be valid.
func (r *round) exactly(ctx context.Context, txs []*types.Transaction) (*evm.Built, error) {
	draft, err := r.draft(ctx)
	if err != nil {
		return nil, err
	}
	defer draft.Close()
	for i, tx := range txs {
		if err := draft.Add(tx); err != nil {
			return nil, fmt.Errorf("transaction %d (%x): %w", i, tx.Hash(), err)
		}
	}
	return draft.Seal()
}

// fromPool builds a block of the best transactions of the pool. When its time is up or ctx ends, it seals what it has. If the new root
// needs missing state which does not arrive soon, it leaves transactions out until it does not. If it takes long, offer is called with what it has until
// then; nil: it is not.
func (r *round) fromPool(ctx context.Context, offer func(*evm.Built)) (*evm.Built, error) {
	limited, cancel := context.WithTimeout(ctx, roundTime)
	defer cancel()
	draft, err := r.draft(limited)
	if err != nil {
		return nil, err
	}
	defer draft.Close()
	if err := r.fill(limited, draft, offer); err != nil {
		return nil, err
	}
	built, err := r.seal(ctx, draft)
	for n := len(r.added); errors.Is(err, evm.ErrStateMissing) && n > 1; {
		n /= 2
		built, err = r.again(r.added[:n])
	}
	return built, err
}

// seal seals a draft. The root may need nodes that no transaction read: they are fetched, until ctx ends.
func (r *round) seal(ctx context.Context, draft *evm.Draft) (*evm.Built, error) {
	ctx, cancel := context.WithTimeout(ctx, sealFetchTime)
	defer cancel()
	built, err := draft.Seal()
	for trip := 0; errors.Is(err, evm.ErrStateMissing) && trip < sealTrips; trip++ {
		nodes := r.state.MissingNodes()
		if len(nodes) == 0 || r.b.cfg.Fetcher.Fetch(ctx, nodes, nil) != nil || len(r.state.MissingNodes()) > 0 {
			break // they did not arrive
		}
		built, err = draft.Seal()
	}
	return built, err
}

// again builds a part of a block anew. It takes less time than the whole did, so it is not interrupted. What this
// misses is recorded with the rest.
func (r *round) again(txs []*types.Transaction) (*evm.Built, error) {
	before := r.state
	defer func() { r.state = before }()
	return r.exactly(context.Background(), txs)
}

// fill adds the best transactions of the pool until the block is full, or ctx ends.
func (r *round) fill(ctx context.Context, draft *evm.Draft, offer func(*evm.Built)) error {
	interim := interimTime
	if offer == nil {
		interim = math.MaxInt64
	}
	began, offered := time.Now(), 0
	queue := r.b.candidates(r.p.header)
	minGas := params.TxGas
	if r.b.cfg.Chain.Config().IsAmsterdam(r.p.header.Number, r.p.header.Time) {
		minGas = params.TxBaseCost2780
	}
	for next := queue.best(); next != nil && draft.Gas() >= minGas; next = queue.best() {
		if r.paced != nil {
			r.b.yield(ctx)
		}
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) >= interim && len(r.added) > offered {
			if built, err := r.seal(ctx, draft); err == nil { // an error is met again at the end
				offer(built)
			}
			interim, offered = 2*time.Since(began), len(r.added)
		}
		if next.waits {
			r.leaveOut(queue, next.tx.Tx)
			continue
		}
		if next.tx.Gas > draft.Gas() || int(next.tx.BlobGas/params.BlobTxBlobGasPerBlob) > draft.Blobs() {
			queue.drop()
			continue
		}
		tx := next.tx.Resolve()
		if tx == nil { // evicted from the pool
			queue.drop()
			continue
		}
		err := evm.ErrStateMissing
		if !draft.Lacks(tx) {
			err = draft.Add(tx)
		}
		switch {
		case err == nil:
			r.added = append(r.added, tx)
			queue.shift()
		case errors.Is(err, core.ErrNonceTooLow): // the pool is not on this head yet
			queue.shift()
		case errors.Is(err, evm.ErrInternal):
			return err
		case errors.Is(err, evm.ErrTimeUp):
			return nil
		case errors.Is(err, evm.ErrStateMissing):
			r.missed++
			r.leaveOut(queue, tx)
		default:
			r.b.log.Debug("Transaction not added to the payload", "hash", tx.Hash(), "err", err)
			queue.drop()
		}
	}
	return nil
}

// leaveOut notes a transaction that waits for state, for the prefetch. Those of its sender after it follow when it is their turn, so what is
// prefetched is what the block would have next. Tx is nil if its blobs are on disk.
func (r *round) leaveOut(queue *candidates, tx *types.Transaction) {
	if tx == nil || len(r.leftOut) == maxLeftOut || r.leftOutGas+tx.Gas() > maxLeftOutBlocks*r.p.header.GasLimit {
		queue.drop()
		return
	}
	r.leftOut = append(r.leftOut, tx)
	r.leftOutGas += tx.Gas()
	queue.leaveOut()
}

// candidates returns the executable transactions of the pool that may be in a block.
func (b *Builder) candidates(header *types.Header) *candidates {
	config := b.cfg.Chain.Config()
	osaka, amsterdam := config.IsOsaka(header.Number, header.Time), config.IsAmsterdam(header.Number, header.Time)
	baseFee := uint256.MustFromBig(header.BaseFee)
	filter := txpool.PendingFilter{MinTip: uint256.MustFromBig(b.settings.GasPrice), BaseFee: baseFee}
	if osaka && !amsterdam { // EIP-7825; EIP-8037 has another limit
		filter.GasLimitCap = params.MaxTxGas
	}
	plain := b.cfg.Pool.Pending(filter)
	if header.ExcessBlobGas == nil {
		return newCandidates(baseFee, plain)
	}
	filter.BlobTxs = true
	filter.BlobFee = uint256.MustFromBig(eip4844.CalcBlobFee(config, header))
	if osaka { // cell proofs
		filter.BlobVersion = types.BlobSidecarVersion1
	}
	return newCandidates(baseFee, plain, b.cfg.Pool.Pending(filter))
}

// yield pauses while a block is imported, at most until ctx ends.
func (b *Builder) yield(ctx context.Context) {
	for b.cfg.Busy() {
		select {
		case <-time.After(busyPoll):
		case <-ctx.Done():
			return
		}
	}
}
