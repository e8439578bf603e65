package trie

import (
	"bytes"
	"errors"
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
	root  common.Hash
	store Store

	// Assume answers for what is not held; nil: no account, a zero slot, no code.
	Assume Assumer

	mu     sync.Mutex
	missed bool                    // something was not held, noted or not
	faults map[common.Hash]*Fault  // by node, owner and key; for a node without key by its hash
	riders map[[2]common.Hash]bool // account and slot hashes that ride along already
	codes  map[common.Hash]struct{}
}

var _ state.Database = (*Guess)(nil)

// Assumer thinks something up for what is not held, and knows what is worth asking for: a key that
// was computed from something thought up is not.
type Assumer interface {
	// Account answers for an account that is not held; nil: there is none.
	Account(addr common.Address) (account *types.StateAccount, worth bool)
	// Slot answers for a slot that is not held.
	Slot(addr common.Address, slot common.Hash) (value common.Hash, worth bool)
	// Stub stands in for every code that is not held, under its own hash, so that nobody takes
	// it for the code itself; nil: none does.
	Stub() (code []byte, hash common.Hash)
}

// OpenGuess returns the state under root as far as store holds it.
func OpenGuess(root common.Hash, store Store) *Guess {
	return &Guess{
		root: root, store: store,
		faults: make(map[common.Hash]*Fault),
		riders: make(map[[2]common.Hash]bool),
		codes:  make(map[common.Hash]struct{}),
	}
}

// Missed says whether anything was asked for that is not held.
func (g *Guess) Missed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.missed
}

// Missing returns what was asked for, not held, and worth having. Storage of accounts that are
// not held rides along with them.
func (g *Guess) Missing() (faults []Fault, codes []common.Hash) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, fault := range g.faults {
		faults = append(faults, *fault)
	}
	for hash := range g.codes {
		codes = append(codes, hash)
	}
	return faults, codes
}

// Lacks says whether an account, or its code, is not held.
func (g *Guess) Lacks(addr common.Address) bool {
	account, missing, err := g.account(crypto.Keccak256Hash(addr[:]))
	if err != nil || account == nil {
		return missing != nil
	}
	code, err := g.store.Code(common.BytesToHash(account.CodeHash))
	return err == nil && len(code) == 0 && !bytes.Equal(account.CodeHash, types.EmptyCodeHash[:])
}

// Want notes slots as if they had been read, but counts nothing as missed.
func (g *Guess) Want(addr common.Address, slots ...common.Hash) {
	owner := crypto.Keccak256Hash(addr[:])
	account, missing, err := g.account(owner)
	if err != nil || account == nil && missing == nil {
		return
	}
	for _, slot := range slots {
		key := crypto.Keccak256Hash(slot[:])
		switch {
		case missing != nil:
			g.ride(missing, key)
		default:
			if _, fault, err := Probe(g.store, g.root, owner, account.Root, key); err == nil && fault != nil {
				g.note(fault)
			}
		}
	}
}

// note remembers a fault, once for each missing node and key, and returns what is remembered.
func (g *Guess) note(f *Fault) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.noteLocked(f)
}

func (g *Guess) noteLocked(f *Fault) *Fault {
	id := f.Hash
	if f.Key != nil {
		id = crypto.Keccak256Hash(f.Hash[:], f.Owner[:], f.Key)
	}
	if noted := g.faults[id]; noted != nil {
		return noted
	}
	g.faults[id] = f
	return f
}

// ride notes an account that is not held and a storage key of it.
func (g *Guess) ride(account *Fault, key common.Hash) {
	g.mu.Lock()
	defer g.mu.Unlock()
	noted := g.noteLocked(account)
	id := [2]common.Hash{keyOf(account), key}
	if !g.riders[id] {
		g.riders[id] = true
		noted.Riders = append(noted.Riders, key)
	}
}

// keyOf packs the key of a fault.
func keyOf(f *Fault) (key common.Hash) {
	for i := range key {
		key[i] = f.Key[2*i]<<4 | f.Key[2*i+1]
	}
	return key
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
