package pool

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/txpool/blobpool"
	"github.com/ethereum/go-ethereum/core/txpool/legacypool"
	"github.com/ethereum/go-ethereum/core/types"
)

// openPatience is how long one account is asked for under one head while the blob pool opens.
const openPatience = 12 * time.Second

var (
	_ legacypool.BlockChain = (*backing)(nil)
	_ blobpool.BlockChain   = (*backing)(nil)
)

// backing is the chain as one of go-ethereum's pools sees it. Its state is the ledger of the
// moment.
type backing struct {
	Chain
	ledger atomic.Pointer[ledger]
}

// CurrentBlock returns the head.
func (b *backing) CurrentBlock() *types.Header { return b.CurrentHeader() }

// CurrentFinalBlock returns the finalized block. Where none is known yet it is one below all others, so that
// nothing is taken for final and no warning is written with every block.
func (b *backing) CurrentFinalBlock() *types.Header {
	if header := b.Finalized(); header != nil {
		return header
	}
	return &types.Header{Number: new(big.Int)}
}

// GetBlock finds a block.
func (b *backing) GetBlock(hash common.Hash, _ uint64) *types.Block { return b.Block(hash) }

// StateAt returns the state of the ledger, if that is the one that is asked for.
func (b *backing) StateAt(root common.Hash, _ *big.Int, _ uint64) (*state.StateDB, error) {
	l := b.ledger.Load()
	if l.root != root {
		return nil, fmt.Errorf("the pool stands on state root %x, not on %x", l.root, root)
	}
	return l.state()
}

// openBlob opens the blob pool with what is on disk. Whose transactions those are it knows only
// then, and it drops what an account cannot pay for: so while it opens, and only then, a miss
// is a read that waits. If ctx ends the opening is given up, with nothing dropped.
func (f *follower) openBlob(ctx context.Context, head *types.Header) error {
	l := newLedger(head.Root)
	l.fetch = func(addr common.Address) *types.StateAccount {
		for {
			account, err := f.current(ctx, addr)
			switch {
			case err == nil:
				return account
			case ctx.Err() != nil:
				runtime.Goexit() // go-ethereum's pool knows no other way not to conclude anything
			}
			f.log.Info("Waiting for the accounts of blob transactions on disk", "err", err)
		}
	}
	f.blobs.Chain = f.cfg.Chain
	f.blobs.ledger.Store(l)
	pool := blobpool.New(f.cfg.Limits.blob(f.cfg.BlobDir), &f.blobs, f.at.Load().legacy.HasPendingAuth)
	err, over := errors.New("given up"), make(chan struct{})
	go func() {
		defer close(over)
		err = pool.Init(f.cfg.Limits.tip(), head, f.reserver.NewHandle(blobID))
	}()
	<-over
	switch {
	case ctx.Err() != nil:
		return nil //nolint:nilerr // given up
	case err != nil:
		return fmt.Errorf("open blob pool in %q: %w (it may be removed: it holds only transactions that wait)", f.cfg.BlobDir, err)
	}
	f.blob, f.blobHead = pool, head
	f.blobbed = f.subscribe(pool)
	return nil
}

// current reads an account under the head of the moment: the one that the blob pool began to open
// with may be too old by now. Its later blocks are looked at when the pool is moved to the head.
func (f *follower) current(ctx context.Context, addr common.Address) (*types.StateAccount, error) {
	ctx, cancel := context.WithTimeout(ctx, openPatience)
	defer cancel()
	root := f.cfg.Chain.CurrentHeader().Root
	db, err := f.cfg.Peers.Open(ctx, root)
	if err != nil {
		return nil, err
	}
	f.metrics.accounts.Inc()
	return readAccount(ctx, db, nil, root, addr)
}

// closeBlob closes the blob pool, if it is open: it is opened anew on the head. Its accounts are
// free for the other pool until then.
func (f *follower) closeBlob() {
	if f.blob == nil {
		return
	}
	f.blobbed.Unsubscribe()
	f.mu.Lock()
	defer f.mu.Unlock()
	handle := f.reserver.NewHandle(blobID)
	for _, addr := range blobSenders(f.blob) {
		_ = handle.Release(addr) // it was held
	}
	if err := f.blob.Close(); err != nil {
		f.log.Warn("Blob pool not closed", "err", err)
	}
	f.blob = nil
	if at := f.at.Load(); at.blob != nil {
		f.at.Store(&standing{head: at.head, ledger: at.ledger, legacy: at.legacy})
	}
}
