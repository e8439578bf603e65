package trie

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
)

// Touched is what an execution read of the state that it stood on, by key: enough to ask
// for all of it by path, knowing the state root only. As a hint from somebody else it can
// be wrong in one way: it can lead to parts of that state that are not needed.
type Touched struct {
	Accounts []TouchedAccount // by address, increasing
	Paths    [][]byte         // nodes of the account trie that lie on the way to none of them, see TouchedAccount
}

// TouchedAccount is what was read of an account. It may not exist.
type TouchedAccount struct {
	Address common.Address
	Code    bool          // its code was read
	Slots   []common.Hash // increasing
	// Paths lead to nodes of its storage trie that lie on the way to none of the slots: the
	// siblings that deletions pulled up. In nibbles, increasing.
	Paths [][]byte
}

// touches is what was read, in order and perhaps more than once: noting it is on the hot
// path of every execution, so it is no more than an append. What accounts were read is known
// anyway.
type touches struct {
	slots []touchedSlot
	nodes []touchedNode // read by tries, not by the reader
	paths []byte        // of the nodes, one behind the other
}

type touchedSlot struct {
	account *account
	slot    common.Hash
	key     common.Hash // keccak256 of the slot
}

type touchedNode struct {
	owner common.Hash
	end   int // of its path in touches.paths, which begins where the one before ends
}

func (d *StateDatabase) touchSlot(s touchedSlot) {
	d.mu.Lock()
	d.touched.slots = append(d.touched.slots, s)
	d.mu.Unlock()
}

// touchCode notes that the code of the account was read, if it is the one that the account
// had before the execution.
func (d *StateDatabase) touchCode(addr common.Address, hash common.Hash) {
	d.mu.RLock()
	acct := d.accounts[addr]
	d.mu.RUnlock()
	if acct != nil && acct.state != nil && bytes.Equal(acct.state.CodeHash, hash[:]) {
		acct.code.Store(true)
	}
}

func (d *StateDatabase) touchNode(owner common.Hash, path []byte) {
	d.mu.Lock()
	d.touched.paths = append(d.touched.paths, path...)
	d.touched.nodes = append(d.touched.nodes, touchedNode{owner, len(d.touched.paths)})
	d.mu.Unlock()
}

// Touched returns what was read until now. It does not wait for anything and can be called
// at any time.
func (d *StateDatabase) Touched() *Touched {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var (
		touched = &Touched{Accounts: make([]TouchedAccount, 0, len(d.accounts))}
		owners  = make(map[common.Hash]*TouchedAccount, len(d.accounts))
		keys    = make(map[common.Hash][]common.Hash) // by owner, increasing
	)
	for addr, acct := range d.accounts {
		touched.Accounts = append(touched.Accounts, TouchedAccount{Address: addr, Code: acct.code.Load()})
		keys[common.Hash{}] = append(keys[common.Hash{}], acct.hash)
	}
	slices.SortFunc(touched.Accounts, func(a, b TouchedAccount) int { return a.Address.Cmp(b.Address) })
	for i := range touched.Accounts {
		owners[d.accounts[touched.Accounts[i].Address].hash] = &touched.Accounts[i]
	}
	for _, s := range d.touched.slots {
		owner := s.account.hash
		owners[owner].Slots = append(owners[owner].Slots, s.slot)
		keys[owner] = append(keys[owner], s.key)
	}
	for _, list := range keys {
		slices.SortFunc(list, common.Hash.Cmp)
	}
	begin := 0
	for _, n := range d.touched.nodes {
		path := d.touched.paths[begin:n.end]
		begin = n.end
		switch {
		case leadsToOne(keys[n.owner], path):
		case n.owner == (common.Hash{}):
			touched.Paths = append(touched.Paths, bytes.Clone(path))
		case owners[n.owner] != nil:
			owners[n.owner].Paths = append(owners[n.owner].Paths, bytes.Clone(path))
		}
	}
	touched.Paths = increasing(touched.Paths, bytes.Compare)
	for i := range touched.Accounts {
		t := &touched.Accounts[i]
		t.Slots = increasing(t.Slots, common.Hash.Cmp)
		t.Paths = increasing(t.Paths, bytes.Compare)
	}
	return touched
}

// increasing sorts a list and takes out what is in it twice.
func increasing[T any](list []T, compare func(a, b T) int) []T {
	slices.SortFunc(list, compare)
	return slices.CompactFunc(list, func(a, b T) bool { return compare(a, b) == 0 })
}

// leadsToOne says whether path is the beginning of one of the keys, which increase.
func leadsToOne(keys []common.Hash, path []byte) bool {
	var first common.Hash // the smallest key that path can lead to
	for i, nibble := range path {
		first[i/2] |= nibble << (4 - 4*(i%2))
	}
	at, _ := slices.BinarySearchFunc(keys, first, common.Hash.Cmp)
	return at < len(keys) && bytes.HasPrefix(Nibbles(keys[at]), path)
}

// Keys is the number of accounts, slots and paths.
func (t *Touched) Keys() int {
	n := len(t.Accounts) + len(t.Paths)
	for i := range t.Accounts {
		n += len(t.Accounts[i].Slots) + len(t.Accounts[i].Paths)
	}
	return n
}

// Missing returns what store does not hold of it under a state root, as far as that can be
// known: an account's code and storage are asked for once the account is held. It fetches
// nothing. So with accounts that are not held it takes two turns to get everything: the
// faults of the first, then those of the second with the codes.
func (t *Touched) Missing(store Store, root common.Hash) (faults []Fault, codes []common.Hash, err error) {
	known := make(map[common.Hash]bool) // codes
	err = t.walk(store, root, touchedVisitor{
		missing: func(f *Fault) { faults = append(faults, *f) },
		code: func(hash common.Hash) error {
			if known[hash] {
				return nil
			}
			known[hash] = true
			code, err := store.Code(hash)
			if err == nil && len(code) == 0 {
				codes = append(codes, hash)
			}
			return err
		},
	})
	return faults, codes, err
}

// Hashes returns the hashes of the trie nodes on the way to what was touched under a state
// root, as far as store holds them, and of the codes: the witness metadata of devp2p's wit/0
// (caps/wit.md).
func (t *Touched) Hashes(store Store, root common.Hash) (hashes []common.Hash, err error) {
	known := make(map[common.Hash]bool)
	add := func(hash common.Hash) {
		if !known[hash] {
			known[hash] = true
			hashes = append(hashes, hash)
		}
	}
	err = t.walk(store, root, touchedVisitor{
		held:    add,
		missing: func(*Fault) {},
		code:    func(hash common.Hash) error { add(hash); return nil },
	})
	return hashes, err
}

// touchedVisitor is told what lies on the way to what was touched.
type touchedVisitor struct {
	held    func(common.Hash) // a node; may be nil
	missing func(*Fault)      // where a way ends because a node is not held
	code    func(common.Hash) error
}

func (t *Touched) walk(store Store, root common.Hash, v touchedVisitor) error {
	for _, path := range t.Paths {
		if _, err := v.follow(store, root, common.Hash{}, root, path); err != nil {
			return err
		}
	}
	for i := range t.Accounts {
		if err := t.Accounts[i].walk(store, root, v); err != nil {
			return err
		}
	}
	return nil
}

func (t *TouchedAccount) walk(store Store, root common.Hash, v touchedVisitor) error {
	owner := crypto.Keccak256Hash(t.Address[:])
	value, err := v.follow(store, root, common.Hash{}, root, Nibbles(owner))
	if err != nil || value == nil {
		return err
	}
	var acct types.StateAccount
	if err := rlp.DecodeBytes(value, &acct); err != nil {
		return fmt.Errorf("account %x: %w", t.Address, err)
	}
	if hash := common.BytesToHash(acct.CodeHash); t.Code && hash != types.EmptyCodeHash {
		if err := v.code(hash); err != nil {
			return err
		}
	}
	for _, slot := range t.Slots {
		if _, err := v.follow(store, root, owner, acct.Root, Nibbles(crypto.Keccak256Hash(slot[:]))); err != nil {
			return err
		}
	}
	for _, path := range t.Paths {
		if _, err := v.follow(store, root, owner, acct.Root, path); err != nil {
			return err
		}
	}
	return nil
}

// follow goes along key, which may be a part of one, through the nodes that are held. It
// returns the value if it got there.
func (v *touchedVisitor) follow(store Store, stateRoot, owner, hash common.Hash, key []byte) (value []byte, err error) {
	if hash == types.EmptyRootHash {
		return nil, nil
	}
	for depth := 0; ; {
		blob, err := store.Node(owner, key[:depth:depth], hash)
		if err != nil {
			return nil, fmt.Errorf("read trie node %x at %x of %x: %w", hash, key[:depth], owner, err)
		}
		if len(blob) == 0 {
			v.missing(&Fault{Root: stateRoot, Owner: owner, Path: key[:depth:depth], Hash: hash, Key: key})
			return nil, nil
		}
		if v.held != nil {
			v.held(hash)
		}
		if depth == len(key) {
			return nil, nil
		}
		step, err := Descend(blob, key[depth:])
		if err != nil {
			return nil, fmt.Errorf("trie node %x at %x of %x: %w", hash, key[:depth], owner, err)
		}
		if step.Kind != StepChild {
			return step.Value, nil
		}
		depth, hash = depth+step.Depth, step.Hash
	}
}
