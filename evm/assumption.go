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
	// Marked takes every account for a contract whose code is the stub, and every slot for the
	// marker, and no branch that does nothing but revert.
	Marked
	// Zeroed is like Marked, but slots are zero.
	Zeroed
)

const (
	// contractSlots bounds what one bold run asks of one contract: walking an array whose length
	// was thought up would ask without end. Real contracts seldom read that many at once, and
	// those that do get them in the rounds that follow.
	contractSlots = 16
	// runSlots bounds a bold run as a whole.
	runSlots = 512
)

// assumption implements trie.Assumer for one run. It is not for concurrent use, as the run is not.
type assumption struct {
	manner  Manner
	nonces  map[common.Address]uint64   // of senders
	created map[common.Address]struct{} // by the run: not there before
	tainted map[common.Hash]struct{}    // hashes of something thought up
	slots   map[common.Address]int      // asked for so far
	total   int
}

func newAssumption(manner Manner) *assumption {
	return &assumption{
		manner:  manner,
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
	if a.slots[addr] >= contractSlots || a.total >= runSlots {
		return value, false
	}
	a.slots[addr]++
	a.total++
	return value, true
}

// Stub implements trie.Assumer.
func (a *assumption) Stub() ([]byte, common.Hash) {
	if a.manner == Plain {
		return nil, common.Hash{}
	}
	return stubCode, stubHash
}
