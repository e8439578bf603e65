// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"fmt"
	"maps"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/ethereum/go-ethereum/params"
	gethtrie "github.com/ethereum/go-ethereum/trie"
	"github.com/ethereum/go-ethereum/triedb/database"
)

// stateTrie is go-ethereum's trie over faulting nodes, for new roots and proofs.
//
// Its faults name one node and no key: what StateDB writes it has read before, so
// the paths of written keys are in the store already, and what is left are the
// siblings that a deletion pulls up, which no key leads to. Reads and proofs,
// however, may be the first to come along, and walk with the whole key first.
//
// Writes to a storage trie never return an error but set the latch: StateDB writes storage
// tries concurrently, and keeps their errors in a field without a lock.
type stateTrie struct {
	*gethtrie.StateTrie
	db    *StateDatabase
	owner common.Hash
	root  common.Hash
}

var _ state.Trie = (*stateTrie)(nil)

// GetAccount implements state.Trie.
func (t *stateTrie) GetAccount(addr common.Address) (*types.StateAccount, error) {
	if _, err := t.db.value(t.owner, t.root, crypto.Keccak256Hash(addr[:])); err != nil {
		return nil, err
	}
	return t.StateTrie.GetAccount(addr)
}

// GetStorage implements state.Trie.
func (t *stateTrie) GetStorage(addr common.Address, slot []byte) ([]byte, error) {
	if _, err := t.db.value(t.owner, t.root, crypto.Keccak256Hash(slot)); err != nil {
		return nil, err
	}
	return t.StateTrie.GetStorage(addr, slot)
}

// Prove implements state.Trie. key is a hash.
func (t *stateTrie) Prove(key []byte, proof ethdb.KeyValueWriter) error {
	if _, err := t.db.value(t.owner, t.root, common.BytesToHash(key)); err != nil {
		return err
	}
	return t.StateTrie.Prove(key, proof)
}

// UpdateStorage implements state.Trie. It always returns nil; see stateTrie.
func (t *stateTrie) UpdateStorage(addr common.Address, slot, value []byte) error {
	return t.latchError(func() error { return t.StateTrie.UpdateStorage(addr, slot, value) })
}

// DeleteStorage implements state.Trie. It always returns nil; see stateTrie.
func (t *stateTrie) DeleteStorage(addr common.Address, slot []byte) error {
	return t.latchError(func() error { return t.StateTrie.DeleteStorage(addr, slot) })
}

// latchError makes one change unless the latch is set. An error of the change sets the latch.
func (t *stateTrie) latchError(change func() error) error {
	if t.db.check() == nil {
		if err := change(); err != nil {
			t.db.Fail(err)
		}
	}
	return nil
}

// UpdateContractCode implements state.Trie: it keeps the new code for Changes.
func (t *stateTrie) UpdateContractCode(_ common.Address, hash common.Hash, code []byte) error {
	t.db.mu.Lock()
	defer t.db.mu.Unlock()
	t.db.codes[hash] = code
	return nil
}

// OpenTrie implements state.Database. The trie is tracked for Changes.
func (d *StateDatabase) OpenTrie(root common.Hash) (state.Trie, error) {
	if err := d.checkRoot(root); err != nil {
		return nil, err
	}
	return d.open(gethtrie.StateTrieID(root))
}

// OpenStorageTrie implements state.Database. The trie is tracked for Changes. It is
// called concurrently for different accounts, so (see stateTrie) a read that fails sets
// the latch only, and what is returned then is a trie whose reads all fail with it.
func (d *StateDatabase) OpenStorageTrie(stateRoot common.Hash, addr common.Address, root common.Hash, _ state.Trie) (state.Trie, error) {
	if err := d.checkRoot(stateRoot); err != nil {
		return nil, err
	}
	id := gethtrie.StorageTrieID(stateRoot, crypto.Keccak256Hash(addr[:]), root)
	t, err := d.open(id)
	if err != nil {
		d.Fail(err)
		id.Root = types.EmptyRootHash
		return d.open(id)
	}
	return t, nil
}

func (d *StateDatabase) open(id *gethtrie.ID) (state.Trie, error) {
	inner, err := gethtrie.NewStateTrie(id, nodeDatabase{d})
	if err != nil {
		return nil, err
	}
	t := &stateTrie{StateTrie: inner, db: d, owner: id.Owner, root: id.Root}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tries = append(d.tries, t)
	return t, nil
}

// Changes returns the trie nodes and the codes that an execution made: the new ones
// of every trie that was handed out. It comes after validation, once, and makes
// those tries unusable. StateDB.Commit is not needed for it and never called, so a
// self-destruct of before Cancun costs no walk over the storage it drops.
//
// Nodes may contain some that the new state does not reach: those of a contract that
// was written to and destroyed later in the block. The error is that of the latch.
func (d *StateDatabase) Changes() ([]Node, map[common.Hash][]byte, error) {
	if err := d.Err(); err != nil {
		return nil, nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var nodes []Node
	for _, t := range d.tries {
		_, set := t.Commit(false)
		if set == nil {
			continue
		}
		for path, n := range set.Nodes {
			if !n.IsDeleted() {
				nodes = append(nodes, Node{Owner: t.owner, Path: []byte(path), Hash: n.Hash, Blob: n.Blob})
			}
		}
	}
	d.tries = nil
	return nodes, maps.Clone(d.codes), nil
}

// Finish ends an execution. It is Changes: it needs neither the StateDB nor the number of the block.
func (d *StateDatabase) Finish(*state.StateDB, params.Rules, uint64) ([]Node, map[common.Hash][]byte, error) {
	return d.Changes()
}

// nodeDatabase gives go-ethereum's tries their nodes.
type nodeDatabase struct {
	db *StateDatabase
}

// NodeReader implements database.NodeDatabase.
func (n nodeDatabase) NodeReader(common.Hash) (database.NodeReader, error) { return n, nil }

// Node implements database.NodeReader. Go-ethereum's tries panic on a node that they
// cannot decode, so malformed ones stop here.
func (n nodeDatabase) Node(owner common.Hash, path []byte, hash common.Hash) ([]byte, error) {
	blob, err := n.db.node(owner, path, hash, nil)
	if err != nil {
		return nil, err
	}
	var decoded element
	if err := decoded.decode(blob); err != nil {
		return nil, n.db.fail(fmt.Errorf("trie node %x at %x of %x: %w", hash, path, owner, err))
	}
	n.db.touchNode(owner, path)
	return blob, nil
}
