// SPDX-License-Identifier: LGPL-3.0-or-later

package pool

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/txpool"
	"github.com/ethereum/go-ethereum/core/txpool/blobpool"
	"github.com/ethereum/go-ethereum/core/txpool/legacypool"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/event"
)

const (
	// followTimeout bounds the reads of pooled senders' accounts under a new head. Most are local, because
	// this node executed the blocks. After a pivot they are not; what was not read in time is tried
	// again under the next head, a slot later.
	followTimeout = 12 * time.Second
	// maxReorg is the depth of a reorg up to which go-ethereum's pools add dropped transactions again.
	maxReorg = 64
)

// IDs of go-ethereum's pools for the reservation of accounts.
const (
	legacyID = iota
	blobID
)

// follower moves the pool from head to head. Only one goroutine of Run uses it.
type follower struct {
	*Pool
	legacy    poolChain
	legacySub event.Subscription

	blob       *blobpool.BlobPool // open, perhaps not on the head yet
	cache      *blobpool.Cache    // of blob
	blobHead   *types.Header      // the head that it is on
	blobs      poolChain
	blobSub    event.Subscription
	markOpened func() // closes Pool.opened, once
}

func (f *follower) run(ctx context.Context) error {
	for {
		if f.at.Load() != nil || f.cfg.Ready() == nil {
			if err := f.catchUp(ctx); err != nil {
				return err
			}
		}
		select {
		case <-f.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// catchUp moves the pool to the head, and opens what is not open. Errors are internal.
func (f *follower) catchUp(ctx context.Context) error {
	for ctx.Err() == nil {
		at, head := f.at.Load(), f.cfg.Chain.CurrentHeader()
		switch {
		case at == nil:
			if err := f.begin(head); err != nil {
				return err
			}
		case at.head.Hash() != head.Hash() || at.accounts.missed.Load() || at.blob != f.blob:
			if err := f.move(ctx, at, head); err != nil {
				f.log.Warn("Transaction pool not moved to the new head", "pool", at.head.Number, "head", head.Number, "err", err)
				return nil // the next head or the next caller wakes the follower
			}
		case f.blob == nil:
			if err := f.openBlob(ctx, head); err != nil {
				return err
			}
		default:
			return nil
		}
	}
	return nil
}

// begin opens the pool of plain transactions, empty.
func (f *follower) begin(head *types.Header) error {
	l := newAccountCache(head.Root)
	f.legacy.Chain = f.cfg.Chain
	f.legacy.accounts.Store(l)
	pool := legacypool.New(f.cfg.Limits.legacy(), &f.legacy)
	if err := pool.Init(f.cfg.Limits.tip(), head, f.reserver.NewHandle(legacyID)); err != nil {
		return fmt.Errorf("open transaction pool: %w", err)
	}
	f.legacySub = f.subscribe(pool)
	f.publish(&headPools{head: head, accounts: l, legacy: pool})
	close(f.started)
	f.log.Info("Transaction pool is open", "head", head.Number)
	return nil
}

// move moves the pools to another head: it reads the accounts of all senders without a lock, then
// resets the pools under the lock.
func (f *follower) move(ctx context.Context, at *headPools, head *types.Header) error {
	lost, linked := walk(f.cfg.Chain, at.head, head)
	if f.blob != nil {
		if _, linked := walk(f.cfg.Chain, f.blobHead, head); !linked {
			f.closeBlob() // it drops included transactions only by the blocks in between
		}
	}
	next := newAccountCache(head.Root)
	need := make([]common.Address, 0, len(lost))
	for _, tx := range lost {
		if from, err := types.Sender(f.signer, tx); err == nil {
			need = append(need, from)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, followTimeout)
	defer cancel()
	for {
		need = append(need, f.pooled(at)...)
		for addr, err := range f.read(ctx, accountSource{states: f.cfg.Peers}, next, need) {
			return fmt.Errorf("account %x: %w", addr, err)
		}
		f.mu.Lock()
		if need = next.missing(f.pooled(at)); len(need) == 0 {
			break // no new senders meanwhile
		}
		f.mu.Unlock()
	}
	defer f.mu.Unlock()
	old := at.head
	if !linked {
		old = nil // adds no transactions of dropped blocks again
	}
	f.legacy.accounts.Store(next)
	at.legacy.Reset(old, head)
	if f.blob != nil {
		f.blobs.accounts.Store(next)
		f.blob.Reset(f.blobHead, head)
		f.blobHead = head
	}
	f.publish(&headPools{head: head, accounts: next, legacy: at.legacy, blob: f.blob, cache: f.cache})
	if f.blob != nil {
		f.markOpened()
	}
	if next.missed.Load() {
		f.log.Error("Transaction pool read an account that is not in its cache", "head", head.Number)
		return fmt.Errorf("%w: an account was not read", ErrUnavailable)
	}
	return nil
}

// pooled returns the senders of all pooled transactions.
func (f *follower) pooled(at *headPools) []common.Address {
	addrs := f.senders.recent()
	pending, queued := at.legacy.Content()
	for addr := range pending {
		addrs = append(addrs, addr)
	}
	for addr := range queued {
		addrs = append(addrs, addr)
	}
	return append(addrs, blobSenders(f.blob)...)
}

// blobSenders returns the senders in a blob pool, except for those of gapped transactions (see
// senders).
func blobSenders(pool *blobpool.BlobPool) (addrs []common.Address) {
	if pool == nil {
		return nil
	}
	for version := range types.BlobSidecarVersion1 + 1 {
		pending, _ := pool.Pending(txpool.PendingFilter{BlobTxs: true, PartialCells: true, BlobVersion: version})
		for addr := range pending {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// close closes the pools. It unsubscribes first, because nothing receives their events any more.
func (f *follower) close() error {
	f.closeBlob()
	if f.legacySub != nil {
		f.legacySub.Unsubscribe()
		return f.at.Load().legacy.Close()
	}
	return nil
}

// walk follows two heads to their common ancestor, as go-ethereum's pools do. It returns the
// transactions of the dropped blocks, and false if a block in between is not stored or there are too many:
// go-ethereum's pools would then stay on their head.
func walk(c Chain, old, head *types.Header) (dropped []*types.Transaction, linked bool) {
	a, b := c.Block(old.Hash()), c.Block(head.Hash())
	for range 2 * maxReorg {
		switch {
		case a == nil || b == nil:
			return nil, false
		case a.Hash() == b.Hash():
			return dropped, distance(old, head) <= maxReorg
		case a.NumberU64() >= b.NumberU64():
			dropped = slices.Concat(dropped, a.Transactions())
			a = c.Block(a.ParentHash())
		default:
			b = c.Block(b.ParentHash())
		}
	}
	return nil, false
}

func distance(a, b *types.Header) uint64 {
	low, high := min(a.Number.Uint64(), b.Number.Uint64()), max(a.Number.Uint64(), b.Number.Uint64())
	return high - low
}

// senderLifetime is longer than blobpool's gappedLifetime.
const senderLifetime = 2 * time.Minute

// senders are those of recently accepted blob transactions. The blob pool keeps gapped transactions for a
// minute and does not list them.
type senders struct {
	mu   sync.Mutex
	seen map[common.Address]time.Time
}

func (s *senders) note(addr common.Address) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = make(map[common.Address]time.Time)
	}
	s.seen[addr] = time.Now()
}

func (s *senders) recent() []common.Address {
	s.mu.Lock()
	defer s.mu.Unlock()
	addrs := make([]common.Address, 0, len(s.seen))
	for addr, at := range s.seen {
		if time.Since(at) > senderLifetime {
			delete(s.seen, addr)
			continue
		}
		addrs = append(addrs, addr)
	}
	return addrs
}
