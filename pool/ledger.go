package pool

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/triedb"
)

// errNotHeld is what go-ethereum's pools get for an account that is not in the ledger. They
// drop it, so it is noted in the ledger as well.
var errNotHeld = errors.New("account is not in the ledger")

// ledger is the accounts of senders under one state root. It is a state.Database that
// reads nothing: what is not in it is a miss.
type ledger struct {
	root   common.Hash
	missed atomic.Bool // a pool asked for an account that is not here: its conclusions are void

	// fetch brings in an account that is not here; nil but for a blob pool that opens (see
	// opening). It does not return without it.
	fetch func(common.Address) *types.StateAccount

	mu       sync.RWMutex
	accounts map[common.Address]*types.StateAccount // nil: there is no such account
}

func newLedger(root common.Hash) *ledger {
	return &ledger{root: root, accounts: make(map[common.Address]*types.StateAccount)}
}

func (l *ledger) put(addr common.Address, account *types.StateAccount) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accounts[addr] = account
}

func (l *ledger) size() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.accounts)
}

// missing returns those addresses, each once, whose accounts are not here.
func (l *ledger) missing(addrs []common.Address) []common.Address {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var out []common.Address
	seen := make(map[common.Address]struct{})
	for _, addr := range addrs {
		if _, held := l.accounts[addr]; held {
			continue
		}
		if _, twice := seen[addr]; !twice {
			seen[addr] = struct{}{}
			out = append(out, addr)
		}
	}
	return out
}

func (l *ledger) state() (*state.StateDB, error) { return state.New(l.root, l) }

// Type implements state.Database.
func (l *ledger) Type() state.DatabaseType { return state.TypeMPT }

// Reader implements state.Database.
func (l *ledger) Reader(root common.Hash) (state.Reader, error) {
	if root != l.root {
		return nil, errNotHeld
	}
	return ledgerReader{l}, nil
}

// The rest of state.Database is for executing and committing, which no pool does.

// Iteratee always fails.
func (l *ledger) Iteratee(common.Hash) (state.Iteratee, error) { return nil, errors.ErrUnsupported }

// OpenTrie always fails.
func (l *ledger) OpenTrie(common.Hash) (state.Trie, error) { return nil, errors.ErrUnsupported }

// OpenStorageTrie always fails.
func (l *ledger) OpenStorageTrie(common.Hash, common.Address, common.Hash, state.Trie) (state.Trie, error) {
	return nil, errors.ErrUnsupported
}

// TrieDB returns none.
func (l *ledger) TrieDB() *triedb.Database { return nil }

// Commit always fails.
func (l *ledger) Commit(*state.StateUpdate) error { return errors.ErrUnsupported }

// ledgerReader implements state.Reader.
type ledgerReader struct{ l *ledger }

// Account returns an account of the ledger, nil if it does not exist in the state.
func (r ledgerReader) Account(addr common.Address) (*types.StateAccount, error) {
	r.l.mu.RLock()
	account, held := r.l.accounts[addr]
	r.l.mu.RUnlock()
	switch {
	case held && account == nil:
		return nil, nil
	case held:
		return account.Copy(), nil
	case r.l.fetch == nil:
		r.l.missed.Store(true)
		return nil, errNotHeld
	}
	account = r.l.fetch(addr)
	r.l.put(addr, account)
	if account == nil {
		return nil, nil
	}
	return account.Copy(), nil
}

// Storage is a miss: no pool reads storage.
func (r ledgerReader) Storage(common.Address, common.Hash) (common.Hash, error) {
	r.l.missed.Store(true)
	return common.Hash{}, errNotHeld
}

// Code is a miss: pools look at the code's hash only.
func (r ledgerReader) Code(common.Address, common.Hash) []byte {
	r.l.missed.Store(true)
	return nil
}

// CodeSize is a miss; see Code.
func (r ledgerReader) CodeSize(common.Address, common.Hash) int {
	r.l.missed.Store(true)
	return 0
}

// Has is a miss; see Code.
func (r ledgerReader) Has(common.Address, common.Hash) bool {
	r.l.missed.Store(true)
	return false
}
