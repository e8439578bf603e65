// SPDX-License-Identifier: LGPL-3.0-or-later

package evm

import (
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// Bounds of lastSeen. An entry takes some 200 bytes with its bookkeeping: 50 MB in all. A mainnet block
// reads about 400 accounts and 1,200 slots, half of which recent blocks read as well.
const (
	maxSeenAccounts = 1 << 16
	maxSeenSlots    = 3 << 16
)

// lastSeen is what valid blocks read, with the values after the block: the code hash of accounts and
// the value of slots. Code seldom changes, and neither do most slots that lead to other slots. So a
// speculation takes these values for missing state. They survive a restart in the speculation cache. It is
// safe for concurrent use.
type lastSeen struct {
	mu     sync.Mutex
	hashes lru.BasicLRU[common.Address, common.Hash] // code hashes; types.EmptyCodeHash for accounts without code or absent ones
	slots  lru.BasicLRU[slotKey, common.Hash]
}

// slotKey is a slot of a contract.
type slotKey struct {
	addr common.Address
	slot common.Hash
}

func newLastSeen() *lastSeen {
	return &lastSeen{
		hashes: lru.NewBasicLRU[common.Address, common.Hash](maxSeenAccounts),
		slots:  lru.NewBasicLRU[slotKey, common.Hash](maxSeenSlots),
	}
}

func (l *lastSeen) codeHash(addr common.Address) (hash common.Hash, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hashes.Get(addr)
}

func (l *lastSeen) slot(addr common.Address, slot common.Hash) (value common.Hash, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.slots.Get(slotKey{addr, slot})
}

// SeenCode returns the code hash of an account that a recent block read last. It is a guess about any state.
func (e *Executor) SeenCode(addr common.Address) (hash common.Hash, known bool) {
	return e.lastSeen.codeHash(addr)
}

// SeenSlot returns the value of a slot that a recent block read or wrote last. It is a guess about any state.
func (e *Executor) SeenSlot(addr common.Address, slot common.Hash) (value common.Hash, known bool) {
	return e.lastSeen.slot(addr, slot)
}

// seed adds code hashes that no block showed.
func (l *lastSeen) seed(codes map[common.Address]common.Hash) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for addr, hash := range codes {
		l.hashes.Add(addr, hash)
	}
}

// record adds what a valid block read. After is the state after the block. If the block may be older than others that were
// recorded, it adds only what they did not read.
func (l *lastSeen) record(touched *trie.Touched, after *state.StateDB, older bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, account := range touched.Accounts {
		addr := account.Address
		hash := after.GetCodeHash(addr)
		if hash == (common.Hash{}) {
			hash = types.EmptyCodeHash
		}
		if !older || !l.hashes.Contains(addr) {
			l.hashes.Add(addr, hash)
		}
		for _, slot := range account.Slots {
			if key := (slotKey{addr, slot}); !older || !l.slots.Contains(key) {
				l.slots.Add(key, after.GetState(addr, slot))
			}
		}
	}
}
