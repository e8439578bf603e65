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

// errNoted says that something is not held and was noted.
var errNoted = errors.New("not held")

// Guess is the state under one root as far as it is held. A read of something that is not held
// does not block and does not fail: it is noted, and answered by what is assumed. What an
// execution on a Guess concludes is worth nothing; what it asked for is the point. It is safe
// for concurrent use.
type Guess struct {
	*Findings

	// Assume answers for what is not held; nil: no account, a zero slot, no code.
	Assume Assumer

	mu     sync.Mutex
	missed bool                    // something was not held, noted or not
	faults map[common.Hash]*Fault  // read and not held: by node, owner and key; for a node without key by its hash
	wanted map[common.Hash]*Fault  // the same of what was not read
	riders map[[2]common.Hash]bool // account and slot hashes that ride along already
	codes  map[common.Hash]struct{}

	wantedCodes map[common.Hash]struct{}
}

var _ state.Database = (*Guess)(nil)

// Assumer thinks something up for what is not held, and knows what is worth asking for: a key that
// was computed from something thought up is not.
type Assumer interface {
	// Account answers for an account that is not held; nil: there is none.
	Account(addr common.Address) (account *types.StateAccount, worth bool)
	// Slot answers for a slot that is not held.
	Slot(addr common.Address, slot common.Hash) (value common.Hash, worth bool)
	// Held is told of a slot that is held and was read.
	Held(addr common.Address)
	// Stub stands in for every code that is not held, under its own hash, so that nobody takes
	// it for the code itself; nil: none does.
	Stub() (code []byte, hash common.Hash)
}

// OpenGuess returns the state under root as far as store holds it.
func OpenGuess(root common.Hash, store Store) *Guess { return Explore(root, store).Guess() }

// Guess returns the state with what was found of it before.
func (f *Findings) Guess() *Guess {
	return &Guess{
		Findings: f,

		faults: make(map[common.Hash]*Fault),
		wanted: make(map[common.Hash]*Fault),
		riders: make(map[[2]common.Hash]bool),
		codes:  make(map[common.Hash]struct{}),

		wantedCodes: make(map[common.Hash]struct{}),
	}
}

// Missed says whether anything was asked for that is not held.
func (g *Guess) Missed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.missed
}

// Missing returns what was read, is not held, and worth having. Storage of accounts that are not
// held rides along with them.
func (g *Guess) Missing() (faults []Fault, codes []common.Hash) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return collect(g.faults), slices.Collect(maps.Keys(g.codes))
}

// Wanted returns what was not read, but is wanted and not held.
func (g *Guess) Wanted() (faults []Fault, codes []common.Hash) {
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

// Lacks says whether an account, or its code, is not held.
func (g *Guess) Lacks(addr common.Address) bool {
	account, missing, err := g.account(crypto.Keccak256Hash(addr[:]))
	if err != nil || account == nil {
		return missing != nil
	}
	return !g.HasCode(common.BytesToHash(account.CodeHash))
}

// HasCode says whether a code is held, or is no code at all.
func (g *Guess) HasCode(hash common.Hash) bool {
	if hash == types.EmptyCodeHash {
		return true
	}
	code, err := g.store.Code(hash)
	return err == nil && len(code) > 0
}

// Slot returns the value of a slot if it is held. Nothing is noted.
func (g *Guess) Slot(addr common.Address, slot common.Hash) (value common.Hash, held bool) {
	owner := crypto.Keccak256Hash(addr[:])
	account, missing, err := g.account(owner)
	if err != nil || missing != nil || account == nil {
		return value, err == nil && missing == nil
	}
	value, missing, err = g.slot(owner, account.Root, crypto.Keccak256Hash(slot[:]))
	return value, err == nil && missing == nil
}

// Want notes an account, its code, and slots as worth having. They do not count as missed.
func (g *Guess) Want(addr common.Address, slots ...common.Hash) {
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
			g.ride(missing, key, false)
		default:
			if _, fault, err := g.slot(owner, account.Root, key); err == nil && fault != nil {
				g.note(fault, false)
			}
		}
	}
}

// WantCode notes a code as worth having. It does not count as missed.
func (g *Guess) WantCode(hash common.Hash) {
	if code, err := g.store.Code(hash); err != nil || len(code) > 0 {
		return
	}
	g.mu.Lock()
	g.wantedCodes[hash] = struct{}{}
	g.mu.Unlock()
}

// note remembers a fault, once for each missing node and key.
func (g *Guess) note(f *Fault, read bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.noteLocked(f, read)
}

// noteLocked returns what is remembered. What was read is no longer wanted only.
func (g *Guess) noteLocked(f *Fault, read bool) *Fault {
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
	own := *f // the finding stays as it is
	f = &own
	if read {
		g.faults[id] = f
	} else {
		g.wanted[id] = f
	}
	return f
}

// ride notes an account that is not held and a storage key of it.
func (g *Guess) ride(account *Fault, key common.Hash, read bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	noted := g.noteLocked(account, read)
	id := [2]common.Hash{account.Account(), key}
	if !g.riders[id] {
		g.riders[id] = true
		noted.Riders = append(noted.Riders, key)
	}
}

func (g *Guess) miss() {
	g.mu.Lock()
	g.missed = true
	g.mu.Unlock()
}

// Type implements state.Database.
func (g *Guess) Type() state.DatabaseType { return state.TypeMPT }

// Reader implements state.Database.
func (g *Guess) Reader(common.Hash) (state.Reader, error) { return guessReader{g}, nil }

// OpenTrie implements state.Database.
func (g *Guess) OpenTrie(root common.Hash) (state.Trie, error) {
	return gethtrie.NewStateTrie(gethtrie.StateTrieID(root), guessNodes{g})
}

// OpenStorageTrie implements state.Database. A trie whose root is not held is an empty one: StateDB
// keeps errors of storage tries in a field without a lock, so there must be none.
func (g *Guess) OpenStorageTrie(stateRoot common.Hash, addr common.Address, root common.Hash, _ state.Trie) (state.Trie, error) {
	id := gethtrie.StorageTrieID(stateRoot, crypto.Keccak256Hash(addr[:]), root)
	opened, err := gethtrie.NewStateTrie(id, guessNodes{g})
	if err != nil {
		id.Root = types.EmptyRootHash
		if opened, err = gethtrie.NewStateTrie(id, guessNodes{g}); err != nil {
			return nil, err
		}
	}
	return guessTrie{opened}, nil
}

// guessTrie is a storage trie that takes no offence at what is not held: that was noted, and what
// else a run changes may need more.
type guessTrie struct{ *gethtrie.StateTrie }

// UpdateStorage implements state.Trie.
func (t guessTrie) UpdateStorage(addr common.Address, slot, value []byte) error {
	_ = t.StateTrie.UpdateStorage(addr, slot, value)
	return nil
}

// DeleteStorage implements state.Trie.
func (t guessTrie) DeleteStorage(addr common.Address, slot []byte) error {
	_ = t.StateTrie.DeleteStorage(addr, slot)
	return nil
}

// Iteratee implements state.Database and always fails.
func (g *Guess) Iteratee(common.Hash) (state.Iteratee, error) { return nil, errNoted }

// TrieDB implements state.Database: there is none.
func (g *Guess) TrieDB() *triedb.Database { return nil }

// Commit implements state.Database and always fails.
func (g *Guess) Commit(*state.StateUpdate) error { return errNoted }
