// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"fmt"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
)

// LookupCache caches the results of lookups under one state root: speculative rounds repeat the same
// lookups, and the nodes under one root do not change. It is safe for concurrent use.
type LookupCache struct {
	root  common.Hash
	store Store

	mu      sync.RWMutex
	results map[lookupKey]*lookupResult
}

type lookupKey struct{ owner, key common.Hash }

// lookupResult is the result of one lookup. It is never modified.
type lookupResult struct {
	account *types.StateAccount // in the account trie; nil: there is none
	value   common.Hash         // in a storage trie
	missing *Fault              // a node on the path was missing
}

// NewLookupCache returns an empty cache of lookups in store under root.
func NewLookupCache(root common.Hash, store Store) *LookupCache {
	return &LookupCache{root: root, store: store, results: make(map[lookupKey]*lookupResult)}
}

// lookup reads a key in the trie with that root. It continues at the node that was missing last time.
func (f *LookupCache) lookup(owner, root, key common.Hash) (*lookupResult, error) {
	id := lookupKey{owner, key}
	f.mu.RLock()
	last := f.results[id]
	f.mu.RUnlock()
	var (
		value   []byte
		missing *Fault
		err     error
	)
	switch {
	case last == nil:
		value, missing, err = Lookup(f.store, f.root, owner, root, key)
	case last.missing == nil:
		return last, nil
	default:
		value, missing, err = lookupFrom(f.store, last.missing)
	}
	if err != nil {
		return nil, err
	}
	if missing != nil && last != nil && missing.Hash == last.missing.Hash {
		return last, nil
	}
	now := &lookupResult{missing: missing}
	switch {
	case value == nil:
	case owner == common.Hash{}:
		now.account = new(types.StateAccount)
		if err := rlp.DecodeBytes(value, now.account); err != nil {
			return nil, fmt.Errorf("account %x: %w", key, err)
		}
	default:
		content, _, err := rlp.SplitString(value)
		if err != nil {
			return nil, fmt.Errorf("slot %x of %x: %w", key, owner, err)
		}
		now.value = common.BytesToHash(content)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.results[id] = now
	return now, nil
}
