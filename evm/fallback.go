// SPDX-License-Identifier: LGPL-3.0-or-later

package evm

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"

	"github.com/sunbeam-eth/sunbeam/trie"
)

const (
	// contractSlots bounds how many unknown slots one run requests of one contract. A loop over an array
	// whose length is a placeholder would request without end. Slots last seen do not count.
	contractSlots = 8
	// localSlotCredit is how many unknown slots more a contract gets for each local slot that it reads.
	localSlotCredit = 1
	// runSlots bounds how many unknown slots one run requests in all.
	runSlots = 512
)

// fallback supplies the values that one speculation takes for missing state. It is not safe for
// concurrent use.
type fallback struct {
	mode     Mode
	lastSeen *lastSeen
	nonces   map[common.Address]uint64   // of the senders
	created  map[common.Address]struct{} // contracts that the run creates: they did not exist before
	tainted  map[common.Hash]struct{}    // hashes computed from placeholders
	slots    map[common.Address]int      // unknown slots requested so far, less the credit
	total    int                         // unknown slots requested so far
	usedMode bool                        // some value was that of the mode
}

var _ trie.Fallback = (*fallback)(nil)

func newFallback(mode Mode, seen *lastSeen) *fallback {
	return &fallback{
		mode:     mode,
		lastSeen: seen,
		nonces:   make(map[common.Address]uint64),
		created:  make(map[common.Address]struct{}),
		tainted:  make(map[common.Hash]struct{}),
		slots:    make(map[common.Address]int),
	}
}

// Account implements trie.Fallback. A sender can pay for its transactions. A contract that the run
// creates does not exist yet. Any other account exists and has the code last seen, or the stub.
func (f *fallback) Account(addr common.Address) (*types.StateAccount, bool) {
	account := types.NewEmptyStateAccount()
	if nonce, sends := f.nonces[addr]; sends {
		account.Nonce, account.Balance = nonce, new(uint256.Int).Lsh(uint256.NewInt(1), 128)
		return account, true
	}
	if _, created := f.created[addr]; created {
		return nil, true
	}
	account.Nonce, account.Balance = 1, new(uint256.Int).Lsh(uint256.NewInt(1), 100)
	account.CodeHash = stubHash[:]
	if hash, known := f.lastSeen.codeHash(addr); known {
		account.CodeHash = hash[:]
	}
	return account, !isPlaceholder(addr[:])
}

// Slot implements trie.Fallback: the value last seen, or else that of the mode. A key that depends on a
// placeholder is not worth a request.
func (f *fallback) Slot(addr common.Address, slot common.Hash) (value common.Hash, worth bool) {
	if f.mode == ModePlaceholder {
		copy(value[len(value)-len(placeholder):], placeholder[:])
	}
	if _, tainted := f.tainted[slot]; tainted || isPlaceholder(slot[:]) || isPlaceholder(addr[:]) {
		f.usedMode = true
		return value, false
	}
	if last, known := f.lastSeen.slot(addr, slot); known {
		return last, true
	}
	f.usedMode = true
	if f.slots[addr] >= contractSlots || f.total >= runSlots {
		return value, false
	}
	f.slots[addr]++
	f.total++
	return value, true
}

// Hit implements trie.Fallback.
func (f *fallback) Hit(addr common.Address) { f.slots[addr] -= localSlotCredit }

// Placeholder implements trie.Fallback.
func (f *fallback) Placeholder() ([]byte, common.Hash) { return stubCode, stubHash }
