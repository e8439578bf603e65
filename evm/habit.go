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
	// rememberedSelectors bounds the functions whose habits are kept, at up to some kB each.
	rememberedSelectors = 1 << 12
	// habitContracts is of how many contracts a habit speaks, the latest ones.
	habitContracts = 8
	// habitSlots bounds what is remembered of a function, and habitAsked what is asked for at once.
	habitSlots = 24
	habitAsked = 8
	// habitShare is how many of 100 contracts must have read a slot.
	habitShare = 70
)

// selector names a function: the first four bytes of a call's input (Solidity ABI).
type selector [4]byte

// habits is which fixed slots functions read, whatever contract implements them. Contracts of one
// kind keep things in the same slots, so their storage can be asked for with the account, before its code is known. Safe for
// concurrent use.
type habits struct {
	mu   sync.Mutex
	seen lru.BasicLRU[selector, *habit]
}

// habit is what some contracts read when a function is called.
type habit struct {
	contracts [habitContracts]common.Address
	next      int                   // in which place the next contract goes
	slots     map[common.Hash]uint8 // a bit for each contract that read it
}

func newHabits() *habits {
	return &habits{seen: lru.NewBasicLRU[selector, *habit](rememberedSelectors)}
}

// read notes that a function of a contract read slots.
func (h *habits) read(function selector, addr common.Address, slots []common.Hash) {
	h.mu.Lock()
	defer h.mu.Unlock()
	known, ok := h.seen.Get(function)
	if !ok {
		known = &habit{slots: make(map[common.Hash]uint8)}
		h.seen.Add(function, known)
	}
	at := slices.Index(known.contracts[:], addr)
	if at < 0 {
		at = known.next
		known.next = (known.next + 1) % habitContracts
		known.contracts[at] = addr
		for slot, readers := range known.slots {
			if readers &^= 1 << at; readers == 0 {
				delete(known.slots, slot)
			} else {
				known.slots[slot] = readers
			}
		}
	}
	for _, slot := range slots {
		if _, there := known.slots[slot]; there || len(known.slots) < habitSlots {
			known.slots[slot] |= 1 << at
		}
	}
}

// of returns the slots that most of the contracts that are known read, the most frequent first.
func (h *habits) of(function selector) []common.Hash {
	h.mu.Lock()
	defer h.mu.Unlock()
	known, ok := h.seen.Get(function)
	if !ok {
		return nil
	}
	contracts := 0
	for _, addr := range known.contracts {
		if addr != (common.Address{}) {
			contracts++
		}
	}
	var often []common.Hash
	for slot, readers := range known.slots {
		if 100*bits.OnesCount8(readers) >= habitShare*contracts {
			often = append(often, slot)
		}
	}
	slices.SortFunc(often, func(a, b common.Hash) int {
		return cmp.Or(bits.OnesCount8(known.slots[b])-bits.OnesCount8(known.slots[a]), a.Cmp(b))
	})
	return often[:min(len(often), habitAsked)]
}

// Where proxies keep what they stand for, and beacons' addresses (EIP-1967).
var (
	implementationSlot = common.HexToHash("0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc") //nolint:gochecknoglobals // a constant
	beaconSlot         = common.HexToHash("0xa3f0ad74e5423aebfd80d3ef4346578335a9a72aeaee59ff6cb3582b35133d50") //nolint:gochecknoglobals // a constant
)

// likely returns slots to ask for with a contract of which nothing is known, when it is called with input: what other
// contracts read of the same function; else where proxies keep what they stand for.
func (h *habits) likely(input []byte) []common.Hash {
	if len(input) >= len(selector{}) {
		if known := h.of(selector(input)); len(known) > 0 {
			return known
		}
	}
	return []common.Hash{implementationSlot, beaconSlot}
}
