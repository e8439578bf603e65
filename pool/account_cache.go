// SPDX-License-Identifier: LGPL-3.0-or-later

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

// errNotCached is the error of a read of an account that is not in the cache. go-ethereum's pools
// drop it, so the cache records it as well.
var errNotCached = errors.New("account is not in the account cache")

// accountCache has accounts of senders under one state root. It is a state.Database that reads nothing
// else: another account is a miss.
type accountCache struct {
	root   common.Hash
	missed atomic.Bool // a pool read an account that is not here: its decisions do not count

	// fetch reads an account that is not here; nil except while a blob pool opens (see openBlob). It
	// does not return without the account.
	fetch func(common.Address) *types.StateAccount

	mu       sync.RWMutex
	accounts map[common.Address]*types.StateAccount // nil: there is no such account
}

func newAccountCache(root common.Hash) *accountCache {
	return &accountCache{root: root, accounts: make(map[common.Address]*types.StateAccount)}
}

func (c *accountCache) put(addr common.Address, account *types.StateAccount) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.accounts[addr] = account
}

func (c *accountCache) size() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.accounts)
}

// missing returns the addresses, without duplicates, whose accounts are not here.
func (c *accountCache) missing(addrs []common.Address) []common.Address {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var out []common.Address
	seen := make(map[common.Address]struct{})
	for _, addr := range addrs {
		if _, cached := c.accounts[addr]; cached {
			continue
		}
		if _, duplicate := seen[addr]; !duplicate {
			seen[addr] = struct{}{}
			out = append(out, addr)
		}
	}
	return out
}

func (c *accountCache) state() (*state.StateDB, error) { return state.New(c.root, c) }

// Type implements state.Database.
func (c *accountCache) Type() state.DatabaseType { return state.TypeMPT }

// Reader implements state.Database.
func (c *accountCache) Reader(root common.Hash) (state.Reader, error) {
	if root != c.root {
		return nil, errNotCached
	}
	return accountReader{c}, nil
}

// The rest of state.Database is for execution and commits, which no pool does.

// Iteratee always fails.
func (c *accountCache) Iteratee(common.Hash) (state.Iteratee, error) {
	return nil, errors.ErrUnsupported
}

// OpenTrie always fails.
func (c *accountCache) OpenTrie(common.Hash) (state.Trie, error) { return nil, errors.ErrUnsupported }

// OpenStorageTrie always fails.
func (c *accountCache) OpenStorageTrie(common.Hash, common.Address, common.Hash, state.Trie) (state.Trie, error) {
	return nil, errors.ErrUnsupported
}

// TrieDB returns none.
func (c *accountCache) TrieDB() *triedb.Database { return nil }

// Commit always fails.
func (c *accountCache) Commit(*state.StateUpdate) error { return errors.ErrUnsupported }

// accountReader implements state.Reader.
type accountReader struct{ cache *accountCache }

// Account returns an account of the cache, nil if it does not exist in the state.
func (r accountReader) Account(addr common.Address) (*types.StateAccount, error) {
	r.cache.mu.RLock()
	account, cached := r.cache.accounts[addr]
	r.cache.mu.RUnlock()
	switch {
	case cached && account == nil:
		return nil, nil
	case cached:
		return account.Copy(), nil
	case r.cache.fetch == nil:
		r.cache.missed.Store(true)
		return nil, errNotCached
	}
	account = r.cache.fetch(addr)
	r.cache.put(addr, account)
	if account == nil {
		return nil, nil
	}
	return account.Copy(), nil
}

// Storage is a miss: no pool reads storage.
func (r accountReader) Storage(common.Address, common.Hash) (common.Hash, error) {
	r.cache.missed.Store(true)
	return common.Hash{}, errNotCached
}

// Code is a miss: pools read the code hash only.
func (r accountReader) Code(common.Address, common.Hash) []byte {
	r.cache.missed.Store(true)
	return nil
}

// CodeSize is a miss; see Code.
func (r accountReader) CodeSize(common.Address, common.Hash) int {
	r.cache.missed.Store(true)
	return 0
}

// Has is a miss; see Code.
func (r accountReader) Has(common.Address, common.Hash) bool {
	r.cache.missed.Store(true)
	return false
}
