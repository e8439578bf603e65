package trie

import (
	"fmt"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
)

// Findings is the state under one root as far as a store holds it, with what was found of it: guesses that follow one another look
// for the same things, and what is held of one root does not change. It is safe for concurrent use.
type Findings struct {
	root  common.Hash
	store Store

	mu    sync.RWMutex
	found map[findingKey]*finding
}

type findingKey struct{ owner, key common.Hash }

// finding is what came of looking for a key. It does not change.
type finding struct {
	account *types.StateAccount // of the account trie; nil: there is none
	value   common.Hash         // of a storage trie
	missing *Fault              // not all of the path was held
}

// Explore returns the state under root, of which nothing was found yet.
func Explore(root common.Hash, store Store) *Findings {
	return &Findings{root: root, store: store, found: make(map[findingKey]*finding)}
}

// look looks for a key in the trie with that root, from where it was missed last.
func (f *Findings) look(owner, root, key common.Hash) (*finding, error) {
	id := findingKey{owner, key}
	f.mu.RLock()
	last := f.found[id]
	f.mu.RUnlock()
	var (
		value   []byte
		missing *Fault
		err     error
	)
	switch {
	case last == nil:
		value, missing, err = Probe(f.store, f.root, owner, root, key)
	case last.missing == nil:
		return last, nil
	default:
		value, missing, err = probe(f.store, last.missing)
	}
	if err != nil {
		return nil, err
	}
	if missing != nil && last != nil && missing.Hash == last.missing.Hash {
		return last, nil
	}
	now := &finding{missing: missing}
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
	f.found[id] = now
	return now, nil
}
