// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/params"
)

// errNoGenesisTrace is go-ethereum's error for a trace of the genesis block: there is no state before it.
var errNoGenesisTrace = errors.New("genesis is not traceable")

// replay executes a block again, transaction by transaction, on the state before it. Its view is that of the parent;
// transactions change the state of the view.
type replay struct {
	*stateView
	block    *types.Block
	config   *params.ChainConfig
	signer   types.Signer
	blockCtx vm.BlockContext
	plain    *vm.EVM // without a tracer
}

// withReplay opens the state before a block, makes the system calls with which the block begins, and runs read. What the
// block is going to read is prefetched meanwhile, from the first read on that is not answered here.
func withReplay[T any](ctx context.Context, b *backend, block *types.Block, read func(context.Context, *replay) (T, error)) (T, error) {
	var none T
	if block.NumberU64() == 0 {
		return none, errNoGenesisTrace
	}
	parent := b.headerByHash(block.ParentHash())
	if parent == nil {
		if block.NumberU64() <= b.Chain.Oldest() {
			return none, errPruned()
		}
		return none, fmt.Errorf("block %s not found", block.ParentHash().Hex())
	}
	return readStateOf(ctx, b, parent, b.traceLimits(), func(ctx context.Context, v *stateView) (T, error) {
		defer b.prefetch(ctx, v.db.Faulted(), block, parent)()
		r := newReplay(ctx, b.Chain.Config(), v, block)
		defer r.plain.Release()
		return read(ctx, r)
	})
}

func (b *backend) traceLimits() stateLimits {
	return stateLimits{limiter: b.traces, timeout: b.cfg.Traces.Timeout}
}

// prefetch fetches what a block is going to read, once the channel is closed: as long as all is here, speculation would only
// take time from the execution. The function that it returns ends that, and waits.
func (b *backend) prefetch(ctx context.Context, needed <-chan struct{}, block *types.Block, parent *types.Header) (end func()) {
	if b.Prefetcher == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(b.withBudget(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-needed:
		case <-ctx.Done():
			select {
			case <-needed:
			default:
				return
			}
		}
		b.processors.whenIdle(ctx, func(ctx context.Context) { b.Prefetcher.Prefetch(ctx, block, parent) })
	}()
	return func() { cancel(); <-done }
}

func newReplay(ctx context.Context, config *params.ChainConfig, v *stateView, block *types.Block) *replay {
	r := &replay{stateView: v, block: block, config: config, signer: types.MakeSigner(config, block.Number(), block.Time())}
	r.blockCtx = core.NewEVMBlockContext(block.Header(), v.chain, nil)
	r.plain = vm.NewEVM(r.blockCtx, v.state, config, vm.Config{})
	core.PreExecution(ctx, block.BeaconRoot(), v.header, config, r.plain, block.Number(), block.Time())
	return r
}

// message is the message of a transaction of the block.
func (r *replay) message(tx *types.Transaction) (*core.Message, error) {
	return core.TransactionToMessage(tx, r.signer, r.block.BaseFee())
}

// apply executes the transaction with an index, without tracing it.
func (r *replay) apply(ctx context.Context, index int) error {
	tx := r.block.Transactions()[index]
	if err := cmp.Or(ctx.Err(), r.readError()); err != nil {
		return err
	}
	r.turn.yield()
	msg, err := r.message(tx)
	if err != nil {
		return err
	}
	r.state.SetTxContext(tx.Hash(), index, uint32(index+1))
	if _, err := core.ApplyMessage(r.plain, msg, nil); err != nil {
		return err
	}
	r.state.Finalise(r.plain.GetRules())
	return nil
}

// advance executes the transactions before the one with an index. In a block without transactions index 0 is valid.
func (r *replay) advance(ctx context.Context, index int) error {
	txs := r.block.Transactions()
	if index == 0 && len(txs) == 0 {
		return nil
	}
	if index < 0 || index >= len(txs) {
		return fmt.Errorf("transaction index %d out of range for block %#x", index, r.block.Hash())
	}
	for i := range index {
		if err := r.apply(ctx, i); err != nil {
			return fmt.Errorf("transaction %#x failed: %w", txs[i].Hash(), err)
		}
	}
	return nil
}
