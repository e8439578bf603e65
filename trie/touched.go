// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
)

// Touched is the set of keys that an execution read from its parent state. With the state root
// it is enough to request all the trie nodes by path. As a hint from a peer it can do only one
// kind of harm: fetch parts of the state that are not needed.
type Touched struct {
	Accounts []TouchedAccount // by address, increasing
	Paths    [][]byte         // of account trie nodes on the path to none of Accounts; see TouchedAccount
}

// TouchedAccount is what was read of an account. It may not exist.
type TouchedAccount struct {
	Address common.Address
	Code    bool          // its code was read
	Slots   []common.Hash // increasing
	// Paths are those of storage trie nodes on the path to none of Slots: the siblings that
	// deletions pulled up. In nibbles, increasing.
	Paths [][]byte
}

// touches records reads in order, perhaps more than once: it is on the hot path of every execution,
// so recording is no more than an append. The accounts that were read are in StateDatabase.accounts.
type touches struct {
	slots []touchedSlot
	nodes []touchedNode // read by tries, not by the reader
	paths []byte        // of the nodes, concatenated
}

type touchedSlot struct {
	account *account
	slot    common.Hash
	key     common.Hash // keccak256 of the slot
}

type touchedNode struct {
	owner common.Hash
	end   int // of its path in touches.paths; it begins at the end of the one before
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

// Touched returns what was read so far. It does not block and may be called at any time.
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

// increasing sorts a list and removes duplicates.
func increasing[T any](list []T, compare func(a, b T) int) []T {
	slices.SortFunc(list, compare)
	return slices.CompactFunc(list, func(a, b T) bool { return compare(a, b) == 0 })
}

// leadsToOne says whether path is a prefix of one of the keys, which are sorted.
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

// Missing returns the nodes and codes under a state root that are not in store, as far as that is
// known: an account's code and storage are known once the account is in the store. It fetches
// nothing. So with missing accounts it takes two rounds: the accounts first, then their storage
// and code.
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

// Hashes returns the hashes of the trie nodes on the paths to what was touched under a state root,
// as far as they are in store, and of the codes: the witness metadata of devp2p's wit/0
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
		node:    add,
		missing: func(*Fault) {},
		code:    func(hash common.Hash) error { add(hash); return nil },
	})
	return hashes, err
}

// Blobs returns the trie nodes on the paths to what was touched under a state root, and the codes, each once and in no
// order. If the store lacks one, the error wraps [ErrUnavailable].
func (t *Touched) Blobs(store Store, root common.Hash) (nodes, codes [][]byte, err error) {
	var (
		once   = readOnce{store, make(map[common.Hash][]byte, 2*t.Keys())}
		known  = make(map[common.Hash]bool) // codes
		lacked *Fault
	)
	err = t.walk(once, root, touchedVisitor{
		missing: func(f *Fault) { lacked = f },
		code: func(hash common.Hash) error {
			if known[hash] {
				return nil
			}
			known[hash] = true
			code, err := store.Code(hash)
			if err == nil && len(code) == 0 {
				err = ErrUnavailable
			}
			if err != nil {
				return fmt.Errorf("code %x: %w", hash, err)
			}
			codes = append(codes, code)
			return nil
		},
	})
	if err == nil && lacked != nil {
		err = fmt.Errorf("trie node %x at %x of %x: %w", lacked.Hash, lacked.Path, lacked.Owner, ErrUnavailable)
	}
	if err != nil {
		return nil, nil, err
	}
	return slices.Collect(maps.Values(once.nodes)), codes, nil
}

// readOnce is a store that keeps the nodes that it has read.
type readOnce struct {
	Store
	nodes map[common.Hash][]byte
}

// Node implements [Store].
func (r readOnce) Node(owner common.Hash, path []byte, hash common.Hash) ([]byte, error) {
	if blob, ok := r.nodes[hash]; ok {
		return blob, nil
	}
	blob, err := r.Store.Node(owner, path, hash)
	if err == nil && len(blob) > 0 {
		r.nodes[hash] = blob
	}
	return blob, err
}

// touchedVisitor is called with what is on the paths to the touched keys.
type touchedVisitor struct {
	node    func(common.Hash) // a node in the store; may be nil
	missing func(*Fault)      // a missing node, where the path ends
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

// follow descends along key, which may be a prefix of one, through the nodes in the store. It returns
// the value if it reaches it.
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
		if v.node != nil {
			v.node(hash)
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
