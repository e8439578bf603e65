package trie

import (
	"bytes"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/triedb/database"
)

// account looks an account up as far as it is held. What it returns must not be changed.
func (g *Guess) account(hash common.Hash) (*types.StateAccount, *Fault, error) {
	found, err := g.look(common.Hash{}, g.root, hash)
	if err != nil {
		return nil, nil, err
	}
	return found.account, found.missing, nil
}

// slot looks a slot up as far as it is held.
func (g *Guess) slot(owner, root, key common.Hash) (common.Hash, *Fault, error) {
	found, err := g.look(owner, root, key)
	if err != nil {
		return common.Hash{}, nil, err
	}
	return found.value, found.missing, nil
}

// guessReader implements state.Reader.
type guessReader struct{ *Guess }

// Account implements state.StateReader. The account of a code that is not held gets the hash of
// the stub: whatever is remembered of a code by its hash must be true.
func (r guessReader) Account(addr common.Address) (*types.StateAccount, error) {
	account, missing, err := r.account(crypto.Keccak256Hash(addr[:]))
	switch {
	case err != nil:
		return nil, err
	case missing != nil:
		r.miss()
		if r.Assume == nil {
			r.note(missing, true)
			return nil, nil
		}
		var worth bool
		if account, worth = r.Assume.Account(addr); worth {
			r.note(missing, true)
		}
	case account != nil:
		account = account.Copy()
	}
	if account == nil || r.Assume == nil || bytes.Equal(account.CodeHash, types.EmptyCodeHash[:]) {
		return account, nil
	}
	if _, stub := r.Assume.Stub(); stub != (common.Hash{}) && len(r.Code(addr, common.BytesToHash(account.CodeHash))) == 0 {
		account.CodeHash = stub[:]
	}
	return account, nil
}

// Storage implements state.StateReader.
func (r guessReader) Storage(addr common.Address, slot common.Hash) (common.Hash, error) {
	owner, key := crypto.Keccak256Hash(addr[:]), crypto.Keccak256Hash(slot[:])
	account, missing, err := r.account(owner)
	switch {
	case err != nil:
		return common.Hash{}, err
	case missing != nil:
		return r.assumeSlot(addr, slot, func() { r.ride(missing, key, true) }), nil
	case account == nil:
		return common.Hash{}, nil
	}
	value, missing, err := r.slot(owner, account.Root, key)
	switch {
	case err != nil:
		return common.Hash{}, err
	case missing != nil:
		return r.assumeSlot(addr, slot, func() { r.note(missing, true) }), nil
	case r.Assume != nil:
		r.Assume.Held(addr)
	}
	return value, nil
}

// assumeSlot answers for a slot that is not held, and notes it if that is worth it.
func (r guessReader) assumeSlot(addr common.Address, slot common.Hash, note func()) common.Hash {
	r.miss()
	if r.Assume == nil {
		note()
		return common.Hash{}
	}
	value, worth := r.Assume.Slot(addr, slot)
	if worth {
		note()
	}
	return value
}

// Code implements state.ContractCodeReader.
func (r guessReader) Code(_ common.Address, hash common.Hash) []byte {
	if hash == types.EmptyCodeHash || hash == (common.Hash{}) {
		return nil
	}
	if r.Assume != nil {
		if stub, stands := r.Assume.Stub(); hash == stands {
			return stub
		}
	}
	code, err := r.store.Code(hash)
	if err != nil || len(code) > 0 {
		return code
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.codes[hash] = struct{}{}
	r.missed = true
	return nil
}

// CodeSize implements state.ContractCodeReader.
func (r guessReader) CodeSize(addr common.Address, hash common.Hash) int {
	return len(r.Code(addr, hash))
}

// Has implements state.ContractCodeReader.
func (r guessReader) Has(addr common.Address, hash common.Hash) bool {
	return len(r.Code(addr, hash)) > 0
}

// guessNodes gives go-ethereum's tries the nodes that are held, and notes the others: the
// siblings that deletions pull up.
type guessNodes struct{ *Guess }

// NodeReader implements database.NodeDatabase.
func (n guessNodes) NodeReader(common.Hash) (database.NodeReader, error) { return n, nil }

// Node implements database.NodeReader.
func (n guessNodes) Node(owner common.Hash, path []byte, hash common.Hash) ([]byte, error) {
	blob, err := n.store.Node(owner, path, hash)
	if err != nil {
		return nil, err
	}
	if len(blob) == 0 {
		n.miss()
		n.note(&Fault{Root: n.root, Owner: owner, Path: bytes.Clone(path), Hash: hash}, true)
		return nil, errNoted
	}
	var decoded element
	if err := decoded.decode(blob); err != nil {
		return nil, fmt.Errorf("trie node %x at %x of %x: %w", hash, path, owner, err)
	}
	return blob, nil
}
