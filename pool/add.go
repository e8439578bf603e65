// SPDX-License-Identifier: LGPL-3.0-or-later

package pool

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/txpool"
	gethlocals "github.com/ethereum/go-ethereum/core/txpool/locals"
	"github.com/ethereum/go-ethereum/core/types"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

const (
	// readers is the number of accounts that are read concurrently for one caller. While beaming they
	// share requests.
	readers = 32
	// maxReads is the number of accounts that are read concurrently for peers.
	maxReads = 128
	// gossipTimeout bounds the reads of accounts for a peer's transactions. A transaction whose
	// sender could not be read in time is dropped.
	gossipTimeout = 5 * time.Second
	// maxAccounts bounds the account cache of one head. Accounts of rejected transactions stay in it
	// until the next head. Peers may fill half of it, so that there is room for users.
	maxAccounts = 1 << 16
	// maxMoves is how often the head may change while an account is read.
	maxMoves = 4
)

// Send adds a user's transaction. Errors are go-ethereum's if the transaction is invalid, and
// [ErrUnavailable] or [ErrNotReady], wrapped, if it cannot be validated now. A transaction that the pool may accept later
// is kept and tried again, which is no error, as in go-ethereum.
func (p *Pool) Send(ctx context.Context, tx *types.Transaction) error {
	err := p.add(ctx, accountSource{states: p.cfg.Users}, []*types.Transaction{tx})[0]
	if p.locals == nil || err != nil && !gethlocals.IsTemporaryReject(err) {
		return err
	}
	p.locals.track(tx)
	if tx.Type() == types.BlobTxType {
		return err
	}
	return nil
}

// Nonce returns the next nonce of an account after its executable pooled transactions.
func (p *Pool) Nonce(ctx context.Context, addr common.Address) (nonce uint64, err error) {
	if _, err := p.ready(ctx); err != nil {
		return 0, err
	}
	p.withAccounts(ctx, accountSource{states: p.cfg.Users}, nil, []common.Address{addr}, func(at *headPools, unknown map[common.Address]error) {
		if err = unknown[addr]; err != nil {
			return
		}
		for _, pool := range at.pools() {
			nonce = max(nonce, pool.Nonce(addr))
		}
		err = p.checkMissed(at)
	})
	return nonce, err
}

// accountSource says how accounts are read.
type accountSource struct {
	states States
	limit  *semaphore.Weighted // for peers: limits concurrent reads; nil: no limit
}

// add adds transactions. It returns an error for each, nil for those in the pool.
func (p *Pool) add(ctx context.Context, how accountSource, txs []*types.Transaction) []error {
	errs := make([]error, len(txs))
	at, err := p.ready(ctx)
	if err != nil {
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	if how.limit == nil {
		at = p.awaitBlob(ctx, at, txs)
	}
	var need []common.Address
	var slot *semaphore.Weighted
	for i, tx := range txs {
		if errs[i] = check(at, tx); errs[i] == nil {
			need = append(need, p.sender(tx))
			if tx.Type() == types.BlobTxType {
				slot = p.proving
			}
		}
	}
	if len(need) == 0 {
		return errs
	}
	p.withAccounts(ctx, how, slot, need, func(at *headPools, unknown map[common.Address]error) {
		for i, tx := range txs {
			if errs[i] == nil {
				errs[i] = unknown[p.sender(tx)]
			}
		}
		p.insert(at, txs, errs)
	})
	return errs
}

// check validates a transaction by the stateless rules, which include its signature.
func check(at *headPools, tx *types.Transaction) error {
	for _, pool := range at.pools() {
		if !pool.Filter(tx) {
			continue
		}
		if pool.Has(tx.Hash()) {
			return txpool.ErrAlreadyKnown
		}
		return pool.ValidateTxBasics(tx)
	}
	if tx.Type() == types.BlobTxType {
		return errBlobClosed
	}
	return fmt.Errorf("%w: received type %d", core.ErrTxTypeNotSupported, tx.Type()) // as txpool.TxPool says it
}

// errBlobClosed is for blob transactions while their pool reads what is on disk.
var errBlobClosed = fmt.Errorf("%w: the blob pool is being opened", ErrUnavailable)

// insert adds the transactions without an error to their pools. mu is read-locked, and the senders are in
// the account cache.
func (p *Pool) insert(at *headPools, txs []*types.Transaction, errs []error) {
	for i, tx := range txs {
		if errs[i] == nil && at.blob == nil && tx.Type() == types.BlobTxType { // it was closed meanwhile
			errs[i] = errBlobClosed
		}
	}
	for _, pool := range at.pools() {
		var batch []*types.Transaction
		var indices []int
		for i, tx := range txs {
			if errs[i] == nil && pool.Filter(tx) {
				batch, indices = append(batch, tx), append(indices, i)
			}
		}
		if len(batch) == 0 {
			continue
		}
		for k, err := range pool.Add(batch, true) { // executable when it returns
			if err == nil && batch[k].Type() == types.BlobTxType {
				p.senders.note(p.sender(batch[k]))
			}
			errs[indices[k]] = err
		}
	}
	if err := p.checkMissed(at); err != nil {
		for i := range errs {
			errs[i] = err
		}
	}
}

// checkMissed returns an error if a pool read an account that was not in the cache.
func (p *Pool) checkMissed(at *headPools) error {
	if !at.accounts.missed.Load() {
		return nil
	}
	p.wakeUp() // the follower resets the pools on a new cache
	return fmt.Errorf("%w: an account was not read", ErrUnavailable)
}

// withAccounts runs do on a head whose account cache has the accounts of addrs, except for those in unknown,
// each with the reason. do is called once, with mu read-locked, and within slot if that is not nil.
func (p *Pool) withAccounts(ctx context.Context, how accountSource, slot *semaphore.Weighted, addrs []common.Address, do func(at *headPools, unknown map[common.Address]error)) {
	for range maxMoves {
		at := p.at.Load()
		unknown := p.read(ctx, how, at.accounts, addrs)
		if slot != nil {
			if slot.Acquire(ctx, 1) != nil {
				break
			}
			defer slot.Release(1)
			slot = nil
		}
		if p.onHead(at, func() { do(at, unknown) }) {
			return
		}
	}
	unknown := make(map[common.Address]error)
	for _, addr := range addrs {
		unknown[addr] = fmt.Errorf("%w: timeout, or the head changed", ErrUnavailable)
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	do(p.at.Load(), unknown)
}

// onHead runs do unless the pool is on another head now.
func (p *Pool) onHead(at *headPools, do func()) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.at.Load() != at {
		return false
	}
	do()
	return true
}

// read fills a cache with accounts. It returns those that could not be read, with the reason.
func (p *Pool) read(ctx context.Context, how accountSource, l *accountCache, addrs []common.Address) map[common.Address]error {
	addrs = l.missing(addrs)
	if len(addrs) == 0 {
		return nil
	}
	var mu sync.Mutex
	unknown := make(map[common.Address]error)
	fail := func(addr common.Address, err error) {
		mu.Lock()
		defer mu.Unlock()
		unknown[addr] = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	room := maxAccounts - l.size()
	if how.limit != nil {
		room -= maxAccounts / 2
	}
	if len(addrs) > room {
		for _, addr := range addrs {
			fail(addr, errors.New("too many senders since the last block"))
		}
		return unknown
	}
	db, err := how.states.Open(ctx, l.root)
	if err != nil {
		for _, addr := range addrs {
			fail(addr, err)
		}
		return unknown
	}
	var group errgroup.Group
	group.SetLimit(readers)
	for _, addr := range addrs {
		group.Go(func() error {
			account, err := readAccount(ctx, db, how.limit, l.root, addr)
			if err != nil {
				fail(addr, err)
				return nil
			}
			p.metrics.accounts.Inc()
			l.put(addr, account)
			return nil
		})
	}
	_ = group.Wait() // the errors are in unknown
	p.metrics.unavailable.Add(float64(len(unknown)))
	return unknown
}

func readAccount(ctx context.Context, db StateDatabase, slots *semaphore.Weighted, root common.Hash, addr common.Address) (*types.StateAccount, error) {
	if slots != nil {
		if err := slots.Acquire(ctx, 1); err != nil {
			return nil, err
		}
		defer slots.Release(1)
	}
	reader, err := db.Reader(root)
	if err != nil {
		return nil, err
	}
	account, err := reader.Account(addr)
	if err == nil {
		err = db.Err() // the latch: a concurrent read may have failed, but then this one may have, too
	}
	return account, err
}

// sender returns the signer of a transaction that was checked.
func (p *Pool) sender(tx *types.Transaction) common.Address {
	addr, _ := types.Sender(p.signer, tx) // checked
	return addr
}
