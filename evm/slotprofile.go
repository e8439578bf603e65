// SPDX-License-Identifier: LGPL-3.0-or-later

package evm

import (
	"cmp"
	"math/bits"
	"slices"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"
)

const (
	// maxProfiles bounds the functions that have a profile, at up to some kB each.
	maxProfiles = 1 << 12
	// profileContracts is how many contracts a profile covers: those that ran last.
	profileContracts = 8
	// profileSlots bounds the slots of a profile.
	profileSlots = 24
	// maxLikelySlots bounds the slots that are requested for one call.
	maxLikelySlots = 8
	// minReaders is the percentage of the contracts that must have read a slot for it to be likely.
	minReaders = 70
)

// selector names a function: the first four bytes of a call's input (Solidity ABI).
type selector [4]byte

// slotProfiles is which fixed slots contracts commonly read, by function selector. Contracts with the
// same interface often keep a value in the same slot. So their storage can be requested together with
// the account, before the code is known. It is safe for concurrent use.
type slotProfiles struct {
	mu         sync.Mutex
	byFunction lru.BasicLRU[selector, *slotProfile]
}

// slotProfile is what the contracts that ran last read in one function.
type slotProfile struct {
	contracts [profileContracts]common.Address
	next      int                   // index in contracts of the next new one
	readers   map[common.Hash]uint8 // by slot: a bit for each contract that read it
}

func newSlotProfiles() *slotProfiles {
	return &slotProfiles{byFunction: lru.NewBasicLRU[selector, *slotProfile](maxProfiles)}
}

// record adds the slots that a function of a contract read.
func (p *slotProfiles) record(function selector, addr common.Address, slots []common.Hash) {
	p.mu.Lock()
	defer p.mu.Unlock()
	profile, ok := p.byFunction.Get(function)
	if !ok {
		profile = &slotProfile{readers: make(map[common.Hash]uint8)}
		p.byFunction.Add(function, profile)
	}
	contract := slices.Index(profile.contracts[:], addr)
	if contract < 0 {
		contract = profile.replaceOldest(addr)
	}
	for _, slot := range slots {
		if _, known := profile.readers[slot]; known || len(profile.readers) < profileSlots {
			profile.readers[slot] |= 1 << contract
		}
	}
}

// replaceOldest gives the place of the oldest contract to addr and returns its index.
func (p *slotProfile) replaceOldest(addr common.Address) (contract int) {
	contract = p.next
	p.next = (p.next + 1) % profileContracts
	p.contracts[contract] = addr
	for slot, readers := range p.readers {
		if readers &^= 1 << contract; readers == 0 {
			delete(p.readers, slot)
		} else {
			p.readers[slot] = readers
		}
	}
	return contract
}

// commonSlots returns the slots that most contracts read in a function, the most frequent first.
func (p *slotProfiles) commonSlots(function selector) []common.Hash {
	p.mu.Lock()
	defer p.mu.Unlock()
	profile, ok := p.byFunction.Get(function)
	if !ok {
		return nil
	}
	contracts := 0
	for _, addr := range profile.contracts {
		if addr != (common.Address{}) {
			contracts++
		}
	}
	var frequent []common.Hash
	for slot, readers := range profile.readers {
		if 100*bits.OnesCount8(readers) >= minReaders*contracts {
			frequent = append(frequent, slot)
		}
	}
	slices.SortFunc(frequent, func(a, b common.Hash) int {
		return cmp.Or(bits.OnesCount8(profile.readers[b])-bits.OnesCount8(profile.readers[a]), a.Cmp(b))
	})
	return frequent[:min(len(frequent), maxLikelySlots)]
}

// The slots in which a proxy keeps the address of its implementation, and that of its beacon (EIP-1967).
var (
	implementationSlot = common.HexToHash("0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc") //nolint:gochecknoglobals // a constant
	beaconSlot         = common.HexToHash("0xa3f0ad74e5423aebfd80d3ef4346578335a9a72aeaee59ff6cb3582b35133d50") //nolint:gochecknoglobals // a constant
)

// likelySlots returns slots to request with a contract whose code is not known, when it is called with
// input: those that other contracts read in the same function, or else those of a proxy.
func (p *slotProfiles) likelySlots(input []byte) []common.Hash {
	if len(input) >= len(selector{}) {
		if slots := p.commonSlots(selector(input)); len(slots) > 0 {
			return slots
		}
	}
	return []common.Hash{implementationSlot, beaconSlot}
}
