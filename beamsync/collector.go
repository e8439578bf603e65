package beamsync

import (
	"context"
	"runtime"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	"golang.org/x/sync/errgroup"

	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// maxRounds bounds the speculative rounds of a block; what is still missing then is faulted in
// by the execution. Real mainnet blocks with nothing held took up to 77 (DESIGN section 6).
const maxRounds = 96

// Speculator runs parts of a block on what is held, and notes in the guess what is not;
// evm.Executor implements it.
type Speculator interface {
	Senders(block *types.Block) []common.Address
	SpeculateGroup(ctx context.Context, spec evm.Speculation, group []int)
	SpeculateBlock(ctx context.Context, spec evm.Speculation)
}

// Ancestors finds headers for BLOCKHASH: Header wherever they are, Held without blocking.
type Ancestors interface {
	evm.Headers
	Held(hash common.Hash) *types.Header
}

// Hinter fetches guesses; [Session] implements it.
type Hinter interface {
	Hint(ctx context.Context, faults []trie.Fault, codes []common.Hash) error
}

// Collector gets what a block will read, in as few sequential round trips as it can, before
// the block is executed:
//
//  1. what its transactions name: senders, recipients, access lists, coinbase, withdrawals, the
//     system contracts;
//  2. what running its transactions on that asks for, sender by sender and again until
//     nothing new comes up, all senders' wishes of a round in one trip;
//  3. what running it as a whole asks for, its new root included.
//
// Everything it does is a hint. What it misses the execution faults in; what it fetches in vain
// costs bytes; no outcome depends on it.
type Collector struct {
	spec  Speculator
	store trie.Store
}

// NewCollector returns a collector that looks for state in store first.
func NewCollector(spec Speculator, store trie.Store) *Collector {
	return &Collector{spec: spec, store: store}
}

// Collect fetches what the block is expected to read of its parent's state. It returns early when
// ctx ends or a fetch fails.
func (c *Collector) Collect(ctx context.Context, block *types.Block, parent *types.Header, headers Ancestors, session Hinter) error {
	run := &collection{
		Collector: c, block: block, parent: parent, headers: headers,
		senders: c.spec.Senders(block), asked: make(map[common.Hash]bool),
	}
	run.nameKeys()
	if _, err := run.fetch(ctx, session); err != nil {
		return err
	}
	groups := run.groups()
	for range maxRounds {
		groups = run.speculate(ctx, groups)
		if more, err := run.fetch(ctx, session); err != nil || !more {
			if err != nil {
				return err
			}
			break
		}
	}
	for range maxRounds {
		spec := run.speculation()
		c.spec.SpeculateBlock(ctx, spec)
		run.note(spec.Guess.Missing())
		if more, err := run.fetch(ctx, session); err != nil || !more {
			return err
		}
	}
	return nil
}

// collection is one block's way through the rounds.
type collection struct {
	*Collector
	block   *types.Block
	parent  *types.Header
	headers Ancestors
	senders []common.Address

	mu     sync.Mutex
	asked  map[common.Hash]bool // wishes of all rounds: none is sent twice
	faults []trie.Fault         // wishes of this round
	codes  []common.Hash
	below  *ancestor // header wished for in this round: the highest of those not held
}

type ancestor struct {
	hash   common.Hash
	number uint64
}

// speculation begins one run on what is held now.
func (r *collection) speculation() evm.Speculation {
	return evm.Speculation{
		Block: r.block, Parent: r.parent, Guess: trie.OpenGuess(r.parent.Root, r.store),
		Held: func(hash common.Hash, number uint64) *types.Header {
			if header := r.headers.Held(hash); header != nil {
				return header
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			if !r.asked[hash] {
				r.asked[hash] = true
				r.below = &ancestor{hash, number}
			}
			return nil
		},
	}
}

// note adds to the wishes of this round what was not asked for before.
func (r *collection) note(faults []trie.Fault, codes []common.Hash) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, fault := range faults {
		if id := crypto.Keccak256Hash(fault.Hash[:], fault.Owner[:], fault.Key); !r.asked[id] {
			r.asked[id] = true
			r.faults = append(r.faults, fault)
		}
	}
	for _, hash := range codes {
		if !r.asked[hash] {
			r.asked[hash] = true
			r.codes = append(r.codes, hash)
		}
	}
}

// fetch ends a round: it gets the wishes, if there are any.
func (r *collection) fetch(ctx context.Context, session Hinter) (more bool, err error) {
	faults, codes, below := r.faults, r.codes, r.below
	r.faults, r.codes, r.below = nil, nil, nil
	if len(faults)+len(codes) == 0 && below == nil {
		return false, ctx.Err()
	}
	var both errgroup.Group
	if below != nil {
		both.Go(func() error {
			_, err := r.headers.Header(ctx, below.hash, below.number)
			return err
		})
	}
	if len(faults)+len(codes) > 0 {
		both.Go(func() error { return session.Hint(ctx, faults, codes) })
	}
	return true, both.Wait()
}

// groups splits the transactions by sender, in order: those of one sender depend on each other,
// the others seldom do.
func (r *collection) groups() [][]int {
	var (
		place  = make(map[common.Address]int)
		groups [][]int
	)
	for i, from := range r.senders {
		n, seen := place[from]
		if !seen {
			n = len(groups)
			place[from] = n
			groups = append(groups, nil)
		}
		groups[n] = append(groups[n], i)
	}
	return groups
}

// speculate runs every group once and returns those that something was missing for.
func (r *collection) speculate(ctx context.Context, groups [][]int) (unfinished [][]int) {
	var (
		missed  = make([]bool, len(groups))
		workers errgroup.Group
	)
	workers.SetLimit(runtime.GOMAXPROCS(0))
	for i, group := range groups {
		workers.Go(func() error {
			spec := r.speculation()
			r.spec.SpeculateGroup(ctx, spec, group)
			faults, codes := spec.Guess.Missing()
			missed[i] = len(faults)+len(codes) > 0
			r.note(faults, codes)
			return nil
		})
	}
	_ = workers.Wait() // they return none
	for i, group := range groups {
		if missed[i] {
			unfinished = append(unfinished, group)
		}
	}
	return unfinished
}

// nameKeys notes what the block names by itself, without running anything.
func (r *collection) nameKeys() {
	named := map[common.Address][]common.Hash{
		r.block.Coinbase():               nil,
		params.BeaconRootsAddress:        nil,
		params.HistoryStorageAddress:     nil,
		params.WithdrawalQueueAddress:    nil,
		params.ConsolidationQueueAddress: nil,
	}
	add := func(addr common.Address, slots ...common.Hash) { named[addr] = append(named[addr], slots...) }
	for i, tx := range r.block.Transactions() {
		add(r.senders[i])
		if to := tx.To(); to != nil {
			add(*to)
		}
		for _, tuple := range tx.AccessList() {
			add(tuple.Address, tuple.StorageKeys...)
		}
		for _, auth := range tx.SetCodeAuthorizations() {
			if from, err := auth.Authority(); err == nil {
				add(from)
			}
			add(auth.Address)
		}
	}
	for _, withdrawal := range r.block.Withdrawals() {
		add(withdrawal.Address)
	}
	// A guess does the looking up: it notes what is missing of each.
	guess := trie.OpenGuess(r.parent.Root, r.store)
	reader, err := guess.Reader(r.parent.Root)
	if err != nil {
		return
	}
	for addr, slots := range named {
		account, err := reader.Account(addr)
		if err != nil || account == nil {
			continue
		}
		reader.Code(addr, common.BytesToHash(account.CodeHash))
		for _, slot := range slots {
			_, _ = reader.Storage(addr, slot)
		}
	}
	r.note(guess.Missing())
}
