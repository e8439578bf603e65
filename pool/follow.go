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
	// followPatience is how long the accounts of pooled senders are read under a new head. Most are
	// held: what a block changed was made here. After a pivot they are not, and what was not read by
	// then is tried again under the next head, a slot later.
	followPatience = 12 * time.Second
	// maxReorg is how many blocks go-ethereum's pools walk back to pick up dropped transactions.
	maxReorg = 64
)

// Which of go-ethereum's pools an account belongs to.
const (
	legacyID = iota
	blobID
)

// follower moves the pool from head to head. It is Run's goroutine alone.
type follower struct {
	*Pool
	legacy backing
	plain  event.Subscription

	blob     *blobpool.BlobPool // open, and perhaps not standing yet
	blobHead *types.Header      // where it stands
	blobs    backing
	blobbed  event.Subscription
	whole    func() // closes Pool.opened, once
}

func (f *follower) run(ctx context.Context) error {
	for {
		if f.at.Load() != nil || f.cfg.Ready() {
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
		case at.head.Hash() != head.Hash() || at.ledger.missed.Load() || at.blob != f.blob:
			if err := f.move(ctx, at, head); err != nil {
				f.log.Warn("Transaction pool stays behind the head", "pool", at.head.Number, "head", head.Number, "err", err)
				return nil // the next head, or whoever needs it, wakes us
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
	l := newLedger(head.Root)
	f.legacy.Chain = f.cfg.Chain
	f.legacy.ledger.Store(l)
	pool := legacypool.New(f.cfg.Limits.legacy(), &f.legacy)
	if err := pool.Init(f.cfg.Limits.tip(), head, f.reserver.NewHandle(legacyID)); err != nil {
		return fmt.Errorf("open transaction pool: %w", err)
	}
	f.plain = f.subscribe(pool)
	f.at.Store(&standing{head: head, ledger: l, legacy: pool})
	close(f.stood)
	f.log.Info("Transaction pool is open", "head", head.Number)
	return nil
}

// move makes the pools stand on another head: the accounts of all senders first, without a lock,
// then the pools, with it. Without an error they stand there.
func (f *follower) move(ctx context.Context, at *standing, head *types.Header) error {
	lost, linked := walk(f.cfg.Chain, at.head, head)
	if f.blob != nil {
		if _, linked := walk(f.cfg.Chain, f.blobHead, head); !linked {
			f.closeBlob() // it forgets what was included only along the blocks between
		}
	}
	next := newLedger(head.Root)
	need := make([]common.Address, 0, len(lost))
	for _, tx := range lost {
		if from, err := types.Sender(f.signer, tx); err == nil {
			need = append(need, from)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, followPatience)
	defer cancel()
	for {
		need = append(need, f.pooled(at)...)
		for addr, err := range f.read(ctx, reading{states: f.cfg.Peers}, next, need) {
			return fmt.Errorf("account %x: %w", addr, err)
		}
		f.mu.Lock()
		if need = next.missing(f.pooled(at)); len(need) == 0 {
			break // nobody came meanwhile
		}
		f.mu.Unlock()
	}
	defer f.mu.Unlock()
	old := at.head
	if !linked {
		old = nil // picks nothing up from the dropped blocks
	}
	f.legacy.ledger.Store(next)
	at.legacy.Reset(old, head)
	if f.blob != nil {
		f.blobs.ledger.Store(next)
		f.blob.Reset(f.blobHead, head)
		f.blobHead = head
	}
	f.at.Store(&standing{head: head, ledger: next, legacy: at.legacy, blob: f.blob})
	if f.blob != nil {
		f.whole()
	}
	if next.missed.Load() {
		f.log.Error("Transaction pool looked up an account that was not read", "head", head.Number)
		return fmt.Errorf("%w: an account was not looked up", ErrUnavailable)
	}
	return nil
}

// pooled lists the senders of all that is in the pools.
func (f *follower) pooled(at *standing) []common.Address {
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

// blobSenders lists the senders in a blob pool, but for those of transactions that wait for
// others (see senders).
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

// close closes the pools. Nobody listens to them any more, so they must not wait for that.
func (f *follower) close() error {
	f.closeBlob()
	if f.plain != nil {
		f.plain.Unsubscribe()
		return f.at.Load().legacy.Close()
	}
	return nil
}

// walk follows two heads to their common ancestor, as go-ethereum's pools do. It returns the
// transactions of the dropped blocks, and false if a block on the way is not held or the way is too
// long: go-ethereum's pools would then stay where they are.
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

// sendersKept is longer than blobpool's gappedLifetime.
const sendersKept = 2 * time.Minute

// senders are those whose blob transactions were accepted lately. The blob pool keeps transactions
// that wait for an earlier one (for a minute) and lists them nowhere.
type senders struct {
	mu     sync.Mutex
	lately map[common.Address]time.Time
}

func (s *senders) note(addr common.Address) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lately == nil {
		s.lately = make(map[common.Address]time.Time)
	}
	s.lately[addr] = time.Now()
}

func (s *senders) recent() []common.Address {
	s.mu.Lock()
	defer s.mu.Unlock()
	addrs := make([]common.Address, 0, len(s.lately))
	for addr, at := range s.lately {
		if time.Since(at) > sendersKept {
			delete(s.lately, addr)
			continue
		}
		addrs = append(addrs, addr)
	}
	return addrs
}
