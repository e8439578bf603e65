// SPDX-License-Identifier: LGPL-3.0-or-later

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

// openTimeout bounds the read of one account under one head while the blob pool opens.
const openTimeout = 12 * time.Second

var (
	_ legacypool.BlockChain = (*poolChain)(nil)
	_ blobpool.BlockChain   = (*poolChain)(nil)
)

// poolChain is the chain for one of go-ethereum's pools. Its state is the current account cache.
type poolChain struct {
	Chain
	accounts atomic.Pointer[accountCache]
}

// CurrentBlock returns the head.
func (b *poolChain) CurrentBlock() *types.Header { return b.CurrentHeader() }

// CurrentFinalBlock returns the finalized block. If there is none yet it returns block 0, so that no block counts
// as final and go-ethereum logs no warning for every block.
func (b *poolChain) CurrentFinalBlock() *types.Header {
	if header := b.Finalized(); header != nil {
		return header
	}
	return &types.Header{Number: new(big.Int)}
}

// GetBlock returns a block.
func (b *poolChain) GetBlock(hash common.Hash, _ uint64) *types.Block { return b.Block(hash) }

// StateAt returns the state of the account cache if it has the root.
func (b *poolChain) StateAt(root common.Hash, _ *big.Int, _ uint64) (*state.StateDB, error) {
	l := b.accounts.Load()
	if l.root != root {
		return nil, fmt.Errorf("the pool is on state root %x, not %x", l.root, root)
	}
	return l.state()
}

// openBlob opens the blob pool with what is on disk. It learns their senders only
// then, and drops what an account cannot pay for: so while it opens, and only then, a miss in the cache
// blocks until the account is read. If ctx ends, opening stops, and nothing is dropped.
func (f *follower) openBlob(ctx context.Context, head *types.Header) error {
	l := newAccountCache(head.Root)
	l.fetch = func(addr common.Address) *types.StateAccount {
		for {
			account, err := f.current(ctx, addr)
			switch {
			case err == nil:
				return account
			case ctx.Err() != nil:
				runtime.Goexit() // go-ethereum's pool has no other way to stop without a decision
			}
			f.log.Info("Waiting for accounts of blob transactions on disk", "err", err)
		}
	}
	f.blobs.Chain = f.cfg.Chain
	f.blobs.accounts.Store(l)
	return f.openBlobStore(ctx, head, false)
}

// openBlobStore opens the blob pool. A store that does not open is set aside, once: retried says that this was done.
func (f *follower) openBlobStore(ctx context.Context, head *types.Header, retried bool) error {
	pool := blobpool.New(f.cfg.Limits.blob(f.cfg.BlobDir), &f.blobs, f.at.Load().legacy.HasPendingAuth)
	err, over := errors.New("stopped"), make(chan struct{})
	go func() {
		defer close(over)
		err = pool.Init(f.cfg.Limits.tip(), head, f.reserver.NewHandle(blobID))
	}()
	<-over
	switch {
	case ctx.Err() != nil:
		return nil //nolint:nilerr // stopped
	case err != nil && !retried && f.cfg.SetAside != nil && f.cfg.BlobDir != "":
		moved, failed := f.cfg.SetAside(f.cfg.BlobDir)
		if failed != nil {
			return fmt.Errorf("open blob pool in %q: %w (it has only pending transactions, but: %w)", f.cfg.BlobDir, err, failed)
		}
		f.log.Warn("Set aside a damaged blob pool: its pending transactions are lost to this node", "path", moved, "err", err)
		return f.openBlobStore(ctx, head, true)
	case err != nil:
		return fmt.Errorf("open blob pool in %q: %w (it may be removed: it has only pending transactions)", f.cfg.BlobDir, err)
	}
	f.blob, f.blobHead, f.cache = pool, head, blobpool.NewCache(pool)
	f.cache.SetCellMode(f.cacheCells.Load())
	f.blobSub = f.subscribe(pool)
	return nil
}

// current reads an account under the current head: peers may no longer have the state of the head that
// the blob pool opens on. The blocks since then count when the pool moves to the current head.
func (f *follower) current(ctx context.Context, addr common.Address) (*types.StateAccount, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	root := f.cfg.Chain.CurrentHeader().Root
	db, err := f.cfg.Peers.Open(ctx, root)
	if err != nil {
		return nil, err
	}
	f.metrics.accounts.Inc()
	return readAccount(ctx, db, nil, root, addr)
}

// closeBlob closes the blob pool if it is open. It is opened again on the head; until then the other pool
// may reserve its accounts.
func (f *follower) closeBlob() {
	if f.blob == nil {
		return
	}
	f.blobSub.Unsubscribe()
	f.cache.Stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	handle := f.reserver.NewHandle(blobID)
	for _, addr := range blobSenders(f.blob) {
		_ = handle.Release(addr) // it was reserved
	}
	if err := f.blob.Close(); err != nil {
		f.log.Warn("Blob pool not closed", "err", err)
	}
	f.blob, f.cache = nil, nil
	if at := f.at.Load(); at.blob != nil {
		f.publish(&headPools{head: at.head, accounts: at.accounts, legacy: at.legacy})
	}
}
