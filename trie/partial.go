// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	gethtrie "github.com/ethereum/go-ethereum/trie"
	"github.com/ethereum/go-ethereum/triedb"
)

// errMissing says that state is not in the store. It was recorded.
var errMissing = errors.New("trie node is not in the local store")

// PartialState is the state under one root as far as the local store has it. A read of missing state does not block: it is
// recorded, and it is answered by the fallback or fails. An execution with such a read is meaningless; its use is the record of what
// it read. It is safe for concurrent use.
type PartialState struct {
	*LookupCache

	// Fallback answers reads of missing state; nil: they fail, and StateDB keeps no result of them.
	Fallback Fallback

	mu          sync.Mutex
	misses      int                     // reads of missing state, recorded or not
	failed      error                   // the first read of the store that failed
	faults      map[common.Hash]*Fault  // read and missing, by node, owner and key; without a key by the hash of the node
	wanted      map[common.Hash]*Fault  // wanted and missing, but not read; keys as in faults
	storageKeys map[[2]common.Hash]bool // account and slot hashes that are in StorageKeys of a fault
	codes       map[common.Hash]struct{}

	wantedCodes map[common.Hash]struct{}
}

var _ state.Database = (*PartialState)(nil)

// Fallback supplies placeholder values for missing state, and says what is worth fetching: a key that
// was computed from a placeholder value is not.
type Fallback interface {
	// Account returns a placeholder for a missing account; nil: there is none.
	Account(addr common.Address) (account *types.StateAccount, worth bool)
	// Slot returns a placeholder for a missing slot.
	Slot(addr common.Address, slot common.Hash) (value common.Hash, worth bool)
	// Hit is called for each read of a slot that is not missing.
	Hit(addr common.Address)
	// Placeholder returns the code that replaces every missing code. It has a hash of its own, so that
	// it is not mistaken for the code itself; nil: missing code is empty.
	Placeholder() (code []byte, hash common.Hash)
}

// State returns a new PartialState whose lookups go through the cache.
func (f *LookupCache) State() *PartialState {
	return &PartialState{
		LookupCache: f,

		faults:      make(map[common.Hash]*Fault),
		wanted:      make(map[common.Hash]*Fault),
		storageKeys: make(map[[2]common.Hash]bool),
		codes:       make(map[common.Hash]struct{}),

		wantedCodes: make(map[common.Hash]struct{}),
	}
}

// Missed says whether any read was of missing state, or failed without an error that the reader saw.
func (g *PartialState) Missed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.misses > 0
}

// Misses counts the reads of missing state so far.
func (g *PartialState) Misses() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.misses
}

// Failed returns the first error of the store. Missing state is none.
func (g *PartialState) Failed() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.failed
}

// ForgetMissed makes Missed false and Failed nil until the next read of missing state. What was recorded stays. It is for executions
// that go on without the results of the reads before.
func (g *PartialState) ForgetMissed() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.misses, g.failed = 0, nil
}

// Missing returns what was read, is missing and is worth fetching. Slots of a missing account are
// StorageKeys of its fault.
func (g *PartialState) Missing() (faults []Fault, codes []common.Hash) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return collect(g.faults), slices.Collect(maps.Keys(g.codes))
}

// MissingNodes returns the nodes that a new root needed and that are still missing: the siblings of deleted keys.
func (g *PartialState) MissingNodes() (nodes []Fault) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, fault := range g.faults {
		if fault.Key != nil {
			continue
		}
		if blob, err := g.store.Node(fault.Owner, fault.Path, fault.Hash); err == nil && len(blob) == 0 {
			nodes = append(nodes, *fault)
		}
	}
	return nodes
}

// Wanted returns what is wanted and missing, but was not read.
func (g *PartialState) Wanted() (faults []Fault, codes []common.Hash) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for hash := range g.wantedCodes {
		if _, missed := g.codes[hash]; !missed {
			codes = append(codes, hash)
		}
	}
	return collect(g.wanted), codes
}

func collect(noted map[common.Hash]*Fault) (faults []Fault) {
	for _, fault := range noted {
		faults = append(faults, *fault)
	}
	return faults
}

// Lacks says whether an account or its code is missing.
func (g *PartialState) Lacks(addr common.Address) bool {
	account, missing, err := g.account(crypto.Keccak256Hash(addr[:]))
	if err != nil || account == nil {
		return missing != nil
	}
	return !g.HasCode(common.BytesToHash(account.CodeHash))
}

// HasCode says whether a code is in the store. The empty code always is.
func (g *PartialState) HasCode(hash common.Hash) bool {
	if hash == types.EmptyCodeHash {
		return true
	}
	code, err := g.store.Code(hash)
	return err == nil && len(code) > 0
}

// Slot returns the value of a slot if it is in the store. It records nothing.
func (g *PartialState) Slot(addr common.Address, slot common.Hash) (value common.Hash, known bool) {
	owner := crypto.Keccak256Hash(addr[:])
	account, missing, err := g.account(owner)
	if err != nil || missing != nil || account == nil {
		return value, err == nil && missing == nil
	}
	value, missing, err = g.slot(owner, account.Root, crypto.Keccak256Hash(slot[:]))
	return value, err == nil && missing == nil
}

// Want records an account, its code and slots as worth fetching. They do not count as missed.
func (g *PartialState) Want(addr common.Address, slots ...common.Hash) {
	owner := crypto.Keccak256Hash(addr[:])
	account, missing, err := g.account(owner)
	if err != nil || account == nil && missing == nil {
		return
	}
	if missing != nil {
		g.note(missing, false)
	} else if code := common.BytesToHash(account.CodeHash); code != types.EmptyCodeHash {
		g.WantCode(code)
	}
	for _, slot := range slots {
		key := crypto.Keccak256Hash(slot[:])
		switch {
		case missing != nil:
			g.noteStorage(missing, key, false)
		default:
			if _, fault, err := g.slot(owner, account.Root, key); err == nil && fault != nil {
				g.note(fault, false)
			}
		}
	}
}

// WantCode records a code as worth fetching. It does not count as missed.
func (g *PartialState) WantCode(hash common.Hash) {
	if code, err := g.store.Code(hash); err != nil || len(code) > 0 {
		return
	}
	g.mu.Lock()
	g.wantedCodes[hash] = struct{}{}
	g.mu.Unlock()
}

// note records a fault, once for each missing node and key.
func (g *PartialState) note(f *Fault, read bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.noteLocked(f, read)
}

// noteLocked returns the recorded fault. A read moves it from wanted to faults.
func (g *PartialState) noteLocked(f *Fault, read bool) *Fault {
	id := f.Hash
	if f.Key != nil {
		id = crypto.Keccak256Hash(f.Hash[:], f.Owner[:], f.Key)
	}
	if noted := g.faults[id]; noted != nil {
		return noted
	}
	if noted := g.wanted[id]; noted != nil {
		if !read {
			return noted
		}
		delete(g.wanted, id)
		g.faults[id] = noted
		return noted
	}
	own := *f // results in the lookup cache are not modified
	f = &own
	if read {
		g.faults[id] = f
	} else {
		g.wanted[id] = f
	}
	return f
}

// noteStorage records a missing account with a storage key that is piggybacked on its request.
func (g *PartialState) noteStorage(account *Fault, key common.Hash, read bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	noted := g.noteLocked(account, read)
	id := [2]common.Hash{account.Account(), key}
	if !g.storageKeys[id] {
		g.storageKeys[id] = true
		noted.StorageKeys = append(noted.StorageKeys, key)
	}
}

// fail records an error of the store.
func (g *PartialState) fail(err error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failed == nil {
		g.failed = err
	}
	return err
}

func (g *PartialState) miss() {
	g.mu.Lock()
	g.misses++
	g.mu.Unlock()
}

// Type implements state.Database.
func (g *PartialState) Type() state.DatabaseType { return state.TypeMPT }

// Reader implements state.Database.
func (g *PartialState) Reader(common.Hash) (state.Reader, error) { return partialReader{g}, nil }

// OpenTrie implements state.Database.
func (g *PartialState) OpenTrie(root common.Hash) (state.Trie, error) {
	return gethtrie.NewStateTrie(gethtrie.StateTrieID(root), partialNodes{g})
}

// OpenStorageTrie implements state.Database. A trie whose root is missing opens as an empty one: StateDB
// keeps errors of storage tries in a field without a lock, so there must be none.
func (g *PartialState) OpenStorageTrie(stateRoot common.Hash, addr common.Address, root common.Hash, _ state.Trie) (state.Trie, error) {
	id := gethtrie.StorageTrieID(stateRoot, crypto.Keccak256Hash(addr[:]), root)
	opened, err := gethtrie.NewStateTrie(id, partialNodes{g})
	if err != nil {
		id.Root = types.EmptyRootHash
		if opened, err = gethtrie.NewStateTrie(id, partialNodes{g}); err != nil {
			return nil, err
		}
	}
	return partialTrie{opened}, nil
}

// partialTrie is a storage trie that ignores missing nodes: they are recorded, and later changes of the
// same execution may show more of them.
type partialTrie struct{ *gethtrie.StateTrie }

// UpdateStorage implements state.Trie.
func (t partialTrie) UpdateStorage(addr common.Address, slot, value []byte) error {
	_ = t.StateTrie.UpdateStorage(addr, slot, value)
	return nil
}

// DeleteStorage implements state.Trie.
func (t partialTrie) DeleteStorage(addr common.Address, slot []byte) error {
	_ = t.StateTrie.DeleteStorage(addr, slot)
	return nil
}

// Iteratee implements state.Database and always fails.
func (g *PartialState) Iteratee(common.Hash) (state.Iteratee, error) { return nil, errMissing }

// TrieDB implements state.Database: there is none.
func (g *PartialState) TrieDB() *triedb.Database { return nil }

// Commit implements state.Database and always fails.
func (g *PartialState) Commit(*state.StateUpdate) error { return errMissing }
