// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
)

// reader implements state.Reader. It walks the paths itself instead of sharing a
// trie under a lock, so that a fault blocks the goroutine that hit it and no other.
type reader struct {
	db *StateDatabase
}

// Account returns the account at addr, nil if it does not exist.
func (r reader) Account(addr common.Address) (*types.StateAccount, error) {
	acct, err := r.account(addr)
	if err != nil || acct.state == nil {
		return nil, err
	}
	return acct.state.Copy(), nil
}

// account reads an account once per execution.
func (r reader) account(addr common.Address) (*account, error) {
	if err := r.db.check(); err != nil {
		return nil, err
	}
	r.db.mu.RLock()
	acct := r.db.accounts[addr]
	r.db.mu.RUnlock()
	if acct != nil {
		return acct, nil
	}
	acct = &account{hash: crypto.Keccak256Hash(addr[:])}
	value, err := r.db.value(common.Hash{}, r.db.root, acct.hash)
	if err != nil {
		return nil, err
	}
	if value != nil {
		acct.state = new(types.StateAccount)
		if err := rlp.DecodeBytes(value, acct.state); err != nil {
			return nil, r.db.fail(fmt.Errorf("account %x: %w", addr, err))
		}
	}
	r.db.mu.Lock()
	defer r.db.mu.Unlock()
	if first := r.db.accounts[addr]; first != nil { // a concurrent read was first
		return first, nil
	}
	r.db.accounts[addr] = acct
	return acct, nil
}

// Storage returns the value of a slot, zero if it or the account does not exist.
func (r reader) Storage(addr common.Address, slot common.Hash) (common.Hash, error) {
	acct, err := r.account(addr)
	if err != nil || acct.state == nil {
		return common.Hash{}, err
	}
	key := crypto.Keccak256Hash(slot[:])
	value, err := r.db.value(acct.hash, acct.state.Root, key)
	if err == nil && acct.state.Root != types.EmptyRootHash {
		r.db.touchSlot(touchedSlot{acct, slot, key})
	}
	if err != nil || value == nil {
		return common.Hash{}, err
	}
	content, rest, err := rlp.SplitString(value)
	if err != nil || len(rest) > 0 || len(content) > common.HashLength {
		return common.Hash{}, r.db.fail(fmt.Errorf("storage of %x at %x: malformed value %x", addr, slot, value))
	}
	return common.BytesToHash(content), nil
}

// Code returns a contract's code, nil for the hash of no code. It is also nil after a failed
// read: the interface returns no error, so the error is in the latch.
func (r reader) Code(addr common.Address, hash common.Hash) []byte {
	r.db.touchCode(addr, hash)
	code, _ := r.db.code(hash)
	return code
}

// CodeSize returns the length of a contract's code in bytes; see Code.
func (r reader) CodeSize(addr common.Address, hash common.Hash) int {
	r.db.touchCode(addr, hash)
	code, _ := r.db.code(hash)
	return len(code)
}

// Has says whether the contract has code; see Code.
func (r reader) Has(addr common.Address, hash common.Hash) bool {
	r.db.touchCode(addr, hash)
	code, _ := r.db.code(hash)
	return len(code) > 0
}
