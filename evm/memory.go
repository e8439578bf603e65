package evm

import (
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// Bounds of a memory: with bookkeeping some 200 bytes an entry, 50 MB in all when it is full. A
// mainnet block reads about 400 accounts and 1,200 slots, half of which recent blocks read as well.
const (
	rememberedAccounts = 1 << 16
	rememberedSlots    = 3 << 16
)

// memory is what valid blocks showed: which account has which code, and what slots held last. Code
// seldom changes, and neither do most of the slots that lead on to others, so where something is not
// held a speculation takes it for what it was. It is not persisted: after a start a few blocks
// bring it back. Safe for concurrent use.
type memory struct {
	mu    sync.Mutex
	codes lru.BasicLRU[common.Address, common.Hash] // code hash; that of no code for accounts without and for those not there
	slots lru.BasicLRU[slotOf, common.Hash]
}

// slotOf is a slot of a contract.
type slotOf struct {
	addr common.Address
	slot common.Hash
}

func newMemory() *memory {
	return &memory{
		codes: lru.NewBasicLRU[common.Address, common.Hash](rememberedAccounts),
		slots: lru.NewBasicLRU[slotOf, common.Hash](rememberedSlots),
	}
}

func (m *memory) code(addr common.Address) (hash common.Hash, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.codes.Get(addr)
}

func (m *memory) slot(addr common.Address, slot common.Hash) (value common.Hash, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.slots.Get(slotOf{addr, slot})
}

// Remember tells which code accounts have, for speculation, from elsewhere than a block that was executed.
func (e *Executor) Remember(codes map[common.Address]common.Hash) {
	e.memory.mu.Lock()
	defer e.memory.mu.Unlock()
	for addr, hash := range codes {
		e.memory.codes.Add(addr, hash)
	}
}

// learn remembers what a valid block read, as it was afterwards.
func (m *memory) learn(touched *trie.Touched, after *state.StateDB) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, account := range touched.Accounts {
		addr := account.Address
		hash := after.GetCodeHash(addr)
		if hash == (common.Hash{}) {
			hash = types.EmptyCodeHash
		}
		m.codes.Add(addr, hash)
		for _, slot := range account.Slots {
			m.slots.Add(slotOf{addr, slot}, after.GetState(addr, slot))
		}
	}
}
