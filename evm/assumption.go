package evm

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// Manner is what a speculation takes for granted where nothing is held.
type Manner uint8

const (
	// Plain takes what is not held for not there: no account, no code, a zero slot. Senders can pay.
	Plain Manner = iota
	// Marked takes every account for what it was in a block before, if it is remembered, and for a contract
	// whose code is the stub otherwise; slots for what they were, and the marker otherwise. It takes no
	// branch that does nothing but revert.
	Marked
	// Zeroed is like Marked, but slots that are not remembered are zero.
	Zeroed
)

const (
	// contractSlots bounds what one bold run asks of one contract, beside heldSlots for each slot that it
	// read and is held: walking an array whose length was thought up would ask without end. Contracts that
	// read much have read much before.
	contractSlots = 8
	heldSlots     = 1
	// runSlots bounds a bold run as a whole.
	runSlots = 512
)

// assumption implements trie.Assumer for one run. It is not for concurrent use, as the run is not.
type assumption struct {
	manner  Manner
	memory  *memory
	nonces  map[common.Address]uint64   // of senders
	created map[common.Address]struct{} // by the run: not there before
	tainted map[common.Hash]struct{}    // hashes of something thought up
	slots   map[common.Address]int      // asked for so far, less those that the held ones allow
	total   int
}

func newAssumption(manner Manner, memory *memory) *assumption {
	return &assumption{
		manner:  manner,
		memory:  memory,
		nonces:  make(map[common.Address]uint64),
		created: make(map[common.Address]struct{}),
		tainted: make(map[common.Hash]struct{}),
		slots:   make(map[common.Address]int),
	}
}

// Account implements trie.Assumer.
func (a *assumption) Account(addr common.Address) (*types.StateAccount, bool) {
	account := types.NewEmptyStateAccount()
	if nonce, sends := a.nonces[addr]; sends {
		account.Nonce, account.Balance = nonce, new(uint256.Int).Lsh(uint256.NewInt(1), 128)
		return account, true
	}
	if _, created := a.created[addr]; created || a.manner == Plain {
		return nil, true
	}
	account.Nonce, account.Balance = 1, new(uint256.Int).Lsh(uint256.NewInt(1), 100)
	account.CodeHash = stubHash[:]
	if hash, known := a.memory.code(addr); known {
		account.CodeHash = hash[:]
	}
	return account, !marked(addr[:])
}

// Slot implements trie.Assumer.
func (a *assumption) Slot(addr common.Address, slot common.Hash) (value common.Hash, worth bool) {
	if a.manner == Plain {
		return common.Hash{}, true
	}
	if a.manner == Marked {
		copy(value[len(value)-len(marker):], marker[:])
	}
	if _, tainted := a.tainted[slot]; tainted || marked(slot[:]) || marked(addr[:]) {
		return value, false
	}
	if last, known := a.memory.slot(addr, slot); known {
		return last, true
	}
	if a.slots[addr] >= contractSlots || a.total >= runSlots {
		return value, false
	}
	a.slots[addr]++
	a.total++
	return value, true
}

// Held implements trie.Assumer.
func (a *assumption) Held(addr common.Address) { a.slots[addr] -= heldSlots }

// Stub implements trie.Assumer.
func (a *assumption) Stub() ([]byte, common.Hash) {
	if a.manner == Plain {
		return nil, common.Hash{}
	}
	return stubCode, stubHash
}
