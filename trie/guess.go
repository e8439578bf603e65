package trie

import (
	"errors"
	"fmt"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	gethtrie "github.com/ethereum/go-ethereum/trie"
	"github.com/ethereum/go-ethereum/triedb"
	"github.com/ethereum/go-ethereum/triedb/database"
)

// errNoted says that something is not held and was noted.
var errNoted = errors.New("not held")

// Probe looks for a key's value as far as the store goes. If a node is missing on the way, it
// returns the fault that would go on from there. Nothing is fetched.
func Probe(store Store, stateRoot, owner, root, key common.Hash) (value []byte, missing *Fault, err error) {
	if root == types.EmptyRootHash || root == (common.Hash{}) {
		return nil, nil, nil
	}
	nibbles := Nibbles(key)
	for depth, hash := 0, root; ; {
		blob, err := store.Node(owner, nibbles[:depth:depth], hash)
		if err != nil {
			return nil, nil, fmt.Errorf("read trie node %x at %x of %x: %w", hash, nibbles[:depth], owner, err)
		}
		if len(blob) == 0 {
			return nil, &Fault{Root: stateRoot, Owner: owner, Path: nibbles[:depth:depth], Hash: hash, Key: nibbles}, nil
		}
		step, err := Descend(blob, nibbles[depth:])
		if err != nil {
			return nil, nil, fmt.Errorf("trie node %x at %x of %x: %w", hash, nibbles[:depth], owner, err)
		}
		if step.Kind != StepChild {
			return step.Value, nil, nil
		}
		depth, hash = depth+step.Depth, step.Hash
	}
}

// Guess is the state under one root as far as it is held. A read of something that is not held
// does not block and does not fail: it is noted, and answered by a guess (no account, a zero
// slot, no code, unless Assume knows better). What an execution on a Guess concludes is worth
// nothing; what it asked for is the point. It is safe for concurrent use.
type Guess struct {
	root  common.Hash
	store Store

	// Assume answers for accounts that are not held; it may be nil, and return nil.
	Assume func(common.Address) *types.StateAccount

	mu     sync.Mutex
	faults map[common.Hash]Fault // by the hash of the missing node and, at its end, of the key
	codes  map[common.Hash]struct{}
}

var _ state.Database = (*Guess)(nil)

// OpenGuess returns the state under root as far as store holds it.
func OpenGuess(root common.Hash, store Store) *Guess {
	return &Guess{root: root, store: store, faults: make(map[common.Hash]Fault), codes: make(map[common.Hash]struct{})}
}

// Missing returns what was asked for and not held.
func (g *Guess) Missing() (faults []Fault, codes []common.Hash) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, fault := range g.faults {
		faults = append(faults, fault)
	}
	for hash := range g.codes {
		codes = append(codes, hash)
	}
	return faults, codes
}

// note remembers a fault, once for each missing node and key.
func (g *Guess) note(f *Fault) {
	id := f.Hash
	if f.Key != nil {
		id = crypto.Keccak256Hash(f.Hash[:], f.Owner[:], f.Key)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.faults[id] = *f
}

// guessReader implements state.Reader.
type guessReader struct{ *Guess }

// Account implements state.StateReader.
func (r guessReader) Account(addr common.Address) (*types.StateAccount, error) {
	value, missing, err := Probe(r.store, r.root, common.Hash{}, r.root, crypto.Keccak256Hash(addr[:]))
	switch {
	case err != nil:
		return nil, err
	case missing != nil:
		r.note(missing)
		if r.Assume != nil {
			return r.Assume(addr), nil
		}
		return nil, nil
	case value == nil:
		return nil, nil
	}
	account := new(types.StateAccount)
	if err := rlp.DecodeBytes(value, account); err != nil {
		return nil, fmt.Errorf("account %x: %w", addr, err)
	}
	return account, nil
}

// Storage implements state.StateReader.
func (r guessReader) Storage(addr common.Address, slot common.Hash) (common.Hash, error) {
	owner := crypto.Keccak256Hash(addr[:])
	account, err := r.Account(addr)
	if err != nil || account == nil {
		return common.Hash{}, err
	}
	value, missing, err := Probe(r.store, r.root, owner, account.Root, crypto.Keccak256Hash(slot[:]))
	switch {
	case err != nil:
		return common.Hash{}, err
	case missing != nil:
		r.note(missing)
		return common.Hash{}, nil
	case value == nil:
		return common.Hash{}, nil
	}
	content, _, err := rlp.SplitString(value)
	if err != nil {
		return common.Hash{}, err
	}
	return common.BytesToHash(content), nil
}

// Code implements state.ContractCodeReader.
func (r guessReader) Code(_ common.Address, hash common.Hash) []byte {
	if hash == types.EmptyCodeHash || hash == (common.Hash{}) {
		return nil
	}
	code, err := r.store.Code(hash)
	if err != nil || len(code) > 0 {
		return code
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.codes[hash] = struct{}{}
	return nil
}

// CodeSize implements state.ContractCodeReader.
func (r guessReader) CodeSize(addr common.Address, hash common.Hash) int {
	return len(r.Code(addr, hash))
}

// Has implements state.ContractCodeReader.
func (r guessReader) Has(addr common.Address, hash common.Hash) bool {
	return len(r.Code(addr, hash)) > 0
}

// Type implements state.Database.
func (g *Guess) Type() state.DatabaseType { return state.TypeMPT }

// Reader implements state.Database.
func (g *Guess) Reader(common.Hash) (state.Reader, error) { return guessReader{g}, nil }

// OpenTrie implements state.Database.
func (g *Guess) OpenTrie(root common.Hash) (state.Trie, error) {
	return gethtrie.NewStateTrie(gethtrie.StateTrieID(root), guessNodes{g})
}

// OpenStorageTrie implements state.Database.
func (g *Guess) OpenStorageTrie(stateRoot common.Hash, addr common.Address, root common.Hash, _ state.Trie) (state.Trie, error) {
	return gethtrie.NewStateTrie(gethtrie.StorageTrieID(stateRoot, crypto.Keccak256Hash(addr[:]), root), guessNodes{g})
}

// Iteratee implements state.Database and always fails.
func (g *Guess) Iteratee(common.Hash) (state.Iteratee, error) { return nil, errNoted }

// TrieDB implements state.Database: there is none.
func (g *Guess) TrieDB() *triedb.Database { return nil }

// Commit implements state.Database and always fails.
func (g *Guess) Commit(*state.StateUpdate) error { return errNoted }

// guessNodes gives go-ethereum's tries the nodes that are held, and notes the others: the
// siblings that deletions pull up.
type guessNodes struct{ *Guess }

// NodeReader implements database.NodeDatabase.
func (n guessNodes) NodeReader(common.Hash) (database.NodeReader, error) { return n, nil }

// Node implements database.NodeReader.
func (n guessNodes) Node(owner common.Hash, path []byte, hash common.Hash) ([]byte, error) {
	blob, err := n.store.Node(owner, path, hash)
	if err != nil {
		return nil, err
	}
	if len(blob) == 0 {
		n.note(&Fault{Root: n.root, Owner: owner, Path: append([]byte(nil), path...), Hash: hash})
		return nil, errNoted
	}
	var decoded element
	if err := decoded.decode(blob); err != nil {
		return nil, fmt.Errorf("trie node %x at %x of %x: %w", hash, path, owner, err)
	}
	return blob, nil
}
