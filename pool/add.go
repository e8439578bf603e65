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
	"github.com/ethereum/go-ethereum/core/types"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

const (
	// readers is how many accounts are read at the same time for one caller. While beaming they
	// travel together.
	readers = 32
	// maxReads is how many accounts are read at the same time for other than users.
	maxReads = 128
	// gossipPatience is how long the accounts of a peer's transactions are waited for. A
	// transaction whose sender is not known by then is forgotten.
	gossipPatience = 5 * time.Second
	// maxHeld bounds the accounts in the ledger of one head. Those of rejected transactions stay
	// there until the next one. Peers may fill half of it, so that there is room for users.
	maxHeld = 1 << 16
	// maxMoves is how often the head may move while an account is read.
	maxMoves = 4
)

// Send adds a user's transaction. Errors are go-ethereum's for what is wrong with it, and
// [ErrUnavailable] or [ErrNotReady], wrapped, if that cannot be known now.
func (p *Pool) Send(ctx context.Context, tx *types.Transaction) error {
	return p.add(ctx, reading{states: p.cfg.Users}, []*types.Transaction{tx})[0]
}

// Nonce is the next nonce of an account on top of its pooled transactions that can be executed.
func (p *Pool) Nonce(ctx context.Context, addr common.Address) (nonce uint64, err error) {
	if _, err := p.ready(ctx); err != nil {
		return 0, err
	}
	p.knowing(ctx, reading{states: p.cfg.Users}, nil, []common.Address{addr}, func(at *standing, unknown map[common.Address]error) {
		if err = unknown[addr]; err != nil {
			return
		}
		for _, pool := range at.pools() {
			nonce = max(nonce, pool.Nonce(addr))
		}
		err = p.sound(at)
	})
	return nonce, err
}

// reading is how accounts are read.
type reading struct {
	states States
	slots  *semaphore.Weighted // for peers: bounds how many at the same time; nil: not bounded
}

// add adds transactions; the errors are in their order, nil for those in the pool.
func (p *Pool) add(ctx context.Context, how reading, txs []*types.Transaction) []error {
	errs := make([]error, len(txs))
	at, err := p.ready(ctx)
	if err != nil {
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	var need []common.Address
	var turn *semaphore.Weighted
	for i, tx := range txs {
		if errs[i] = check(at, tx); errs[i] == nil {
			need = append(need, p.sender(tx))
			if tx.Type() == types.BlobTxType {
				turn = p.proving
			}
		}
	}
	if len(need) == 0 {
		return errs
	}
	p.knowing(ctx, how, turn, need, func(at *standing, unknown map[common.Address]error) {
		for i, tx := range txs {
			if errs[i] == nil {
				errs[i] = unknown[p.sender(tx)]
			}
		}
		p.insert(at, txs, errs)
	})
	return errs
}

// check judges a transaction by the rules that need no state; its signature is good afterwards.
func check(at *standing, tx *types.Transaction) error {
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
		return fmt.Errorf("%w: the blob pool is being opened", ErrUnavailable)
	}
	return fmt.Errorf("%w: received type %d", core.ErrTxTypeNotSupported, tx.Type()) // as txpool.TxPool says it
}

// insert puts those transactions that have no error yet into their pools. mu is held for
// reading, and the senders are in the ledger.
func (p *Pool) insert(at *standing, txs []*types.Transaction, errs []error) {
	for _, pool := range at.pools() {
		var batch []*types.Transaction
		var places []int
		for i, tx := range txs {
			if errs[i] == nil && pool.Filter(tx) {
				batch, places = append(batch, tx), append(places, i)
			}
		}
		if len(batch) == 0 {
			continue
		}
		for k, err := range pool.Add(batch, true) { // executable when it returns
			if err == nil && batch[k].Type() == types.BlobTxType {
				p.senders.note(p.sender(batch[k]))
			}
			errs[places[k]] = err
		}
	}
	if err := p.sound(at); err != nil {
		for i := range errs {
			errs[i] = err
		}
	}
}

// sound says whether what was concluded on a ledger counts.
func (p *Pool) sound(at *standing) error {
	if !at.ledger.missed.Load() {
		return nil
	}
	p.look() // the pools are made to look again at all they hold
	return fmt.Errorf("%w: an account was not looked up", ErrUnavailable)
}

// knowing runs do on a head whose ledger has the accounts of addrs, but for those in unknown, each
// with the reason. do is called once, with mu held for reading, and with its turn if that is not nil.
func (p *Pool) knowing(ctx context.Context, how reading, turn *semaphore.Weighted, addrs []common.Address, do func(at *standing, unknown map[common.Address]error)) {
	for range maxMoves {
		at := p.at.Load()
		unknown := p.read(ctx, how, at.ledger, addrs)
		if turn != nil {
			if turn.Acquire(ctx, 1) != nil {
				break
			}
			defer turn.Release(1)
			turn = nil
		}
		if p.onHead(at, func() { do(at, unknown) }) {
			return
		}
	}
	unknown := make(map[common.Address]error)
	for _, addr := range addrs {
		unknown[addr] = fmt.Errorf("%w: out of time, or the head moved", ErrUnavailable)
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	do(p.at.Load(), unknown)
}

// onHead runs do unless the pool stands elsewhere by now.
func (p *Pool) onHead(at *standing, do func()) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.at.Load() != at {
		return false
	}
	do()
	return true
}

// read brings accounts into a ledger. It returns those that it could not, with the reason.
func (p *Pool) read(ctx context.Context, how reading, l *ledger, addrs []common.Address) map[common.Address]error {
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
	room := maxHeld - l.size()
	if how.slots != nil {
		room -= maxHeld / 2
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
			account, err := readAccount(ctx, db, how.slots, l.root, addr)
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
		err = db.Err() // the latch: somebody else's read may have failed, but then this one may have, too
	}
	return account, err
}

// sender is who signed a transaction that was checked.
func (p *Pool) sender(tx *types.Transaction) common.Address {
	addr, _ := types.Sender(p.signer, tx) // checked
	return addr
}
