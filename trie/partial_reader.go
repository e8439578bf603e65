// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"bytes"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/triedb/database"
)

// account looks up an account in the local store. The result must not be modified.
func (g *PartialState) account(hash common.Hash) (*types.StateAccount, *Fault, error) {
	found, err := g.lookup(common.Hash{}, g.root, hash)
	if err != nil {
		return nil, nil, err
	}
	return found.account, found.missing, nil
}

// slot looks up a slot in the local store.
func (g *PartialState) slot(owner, root, key common.Hash) (common.Hash, *Fault, error) {
	found, err := g.lookup(owner, root, key)
	if err != nil {
		return common.Hash{}, nil, err
	}
	return found.value, found.missing, nil
}

// partialReader implements state.Reader.
type partialReader struct{ *PartialState }

// Account implements state.StateReader. An account whose code is missing gets the hash of the placeholder
// code: what the EVM caches by code hash must be right.
func (r partialReader) Account(addr common.Address) (*types.StateAccount, error) {
	account, missing, err := r.account(crypto.Keccak256Hash(addr[:]))
	switch {
	case err != nil:
		return nil, r.fail(err)
	case missing != nil:
		r.miss()
		if r.Fallback == nil {
			r.note(missing, true)
			return nil, errMissing
		}
		var worth bool
		if account, worth = r.Fallback.Account(addr); worth {
			r.note(missing, true)
		}
	case account != nil:
		account = account.Copy()
	}
	if account == nil || r.Fallback == nil || bytes.Equal(account.CodeHash, types.EmptyCodeHash[:]) {
		return account, nil
	}
	if _, placeholder := r.Fallback.Placeholder(); placeholder != (common.Hash{}) && len(r.Code(addr, common.BytesToHash(account.CodeHash))) == 0 {
		account.CodeHash = placeholder[:]
	}
	return account, nil
}

// Storage implements state.StateReader.
func (r partialReader) Storage(addr common.Address, slot common.Hash) (common.Hash, error) {
	owner, key := crypto.Keccak256Hash(addr[:]), crypto.Keccak256Hash(slot[:])
	account, missing, err := r.account(owner)
	switch {
	case err != nil:
		return common.Hash{}, r.fail(err)
	case missing != nil:
		return r.fallbackSlot(addr, slot, func() { r.noteStorage(missing, key, true) })
	case account == nil:
		return common.Hash{}, nil
	}
	value, missing, err := r.slot(owner, account.Root, key)
	switch {
	case err != nil:
		return common.Hash{}, r.fail(err)
	case missing != nil:
		return r.fallbackSlot(addr, slot, func() { r.note(missing, true) })
	case r.Fallback != nil:
		r.Fallback.Hit(addr)
	}
	return value, nil
}

// fallbackSlot returns a placeholder for a missing slot, and records the slot if it is worth fetching.
func (r partialReader) fallbackSlot(addr common.Address, slot common.Hash, note func()) (common.Hash, error) {
	r.miss()
	if r.Fallback == nil {
		note()
		return common.Hash{}, errMissing
	}
	value, worth := r.Fallback.Slot(addr, slot)
	if worth {
		note()
	}
	return value, nil
}

// Code implements state.ContractCodeReader.
func (r partialReader) Code(_ common.Address, hash common.Hash) []byte {
	if hash == types.EmptyCodeHash || hash == (common.Hash{}) {
		return nil
	}
	if r.Fallback != nil {
		if code, placeholder := r.Fallback.Placeholder(); hash == placeholder {
			return code
		}
	}
	code, err := r.store.Code(hash)
	switch {
	case err != nil: // the interface returns no error
		r.miss()
		_ = r.fail(err)
		return nil
	case len(code) > 0:
		return code
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.codes[hash] = struct{}{}
	r.misses++
	return nil
}

// CodeSize implements state.ContractCodeReader.
func (r partialReader) CodeSize(addr common.Address, hash common.Hash) int {
	return len(r.Code(addr, hash))
}

// Has implements state.ContractCodeReader.
func (r partialReader) Has(addr common.Address, hash common.Hash) bool {
	return len(r.Code(addr, hash)) > 0
}

// partialNodes gives go-ethereum's tries the nodes in the store, and records missing ones: the siblings
// that deletions pull up.
type partialNodes struct{ *PartialState }

// NodeReader implements database.NodeDatabase.
func (n partialNodes) NodeReader(common.Hash) (database.NodeReader, error) { return n, nil }

// Node implements database.NodeReader.
func (n partialNodes) Node(owner common.Hash, path []byte, hash common.Hash) ([]byte, error) {
	blob, err := n.store.Node(owner, path, hash)
	if err != nil {
		n.miss() // a storage trie ignores errors, see partialTrie
		return nil, n.fail(err)
	}
	if len(blob) == 0 {
		n.miss()
		n.note(&Fault{Root: n.root, Owner: owner, Path: bytes.Clone(path), Hash: hash}, true)
		return nil, errMissing
	}
	var decoded element
	if err := decoded.decode(blob); err != nil {
		n.miss()
		return nil, n.fail(fmt.Errorf("trie node %x at %x of %x: %w", hash, path, owner, err))
	}
	return blob, nil
}
