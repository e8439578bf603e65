// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// Discarded counts what DiscardIncomplete found.
type Discarded struct {
	Nodes int // trie nodes that were read
	Codes int // codes that were read
	// Incomplete are nodes that were deleted because something is missing or wrong in their subtrees; BadCodes are codes
	// that were deleted because of their hash.
	Incomplete, BadCodes int
}

// maxCheckedCodes bounds the memory for codes that were read: 32 bytes each.
const maxCheckedCodes = 1 << 20

// DiscardIncomplete makes Complete what it promises to be: it deletes every node of which the subtree is not complete.
// Then a walk fetches what was lost and the nodes above it, and keeps everything else. It reads all nodes and
// codes, which takes seconds per million. Concurrent readers that compare hashes are not disturbed. If it is
// interrupted, it has to begin anew. When it has ended, damage counts as checked. Flat state is not checked: it is not kept any
// more, and go-ethereum derives it anew from the complete state.
//
// Nodes and storage tries are visited in the order of their keys, in which a node is before its subtree. A node is
// complete if each of its children is next in turn with the wanted hash, is complete itself, and nothing else is between
// them: a walk takes the subtree of a node that it keeps for exactly what the node refers to.
func (d *DB) DiscardIncomplete(ctx context.Context) (v Discarded, err error) {
	disk := d.chain.disk
	if err := d.chain.dropFlat(); err != nil {
		return v, err
	}
	c := &completeness{ctx: ctx, chain: d.chain, v: &v, codes: make(map[common.Hash]bool), batch: disk.NewBatch()}
	accounts, storage := disk.NewIterator(rawdb.TrieNodeAccountPrefix, nil), disk.NewIterator(rawdb.TrieNodeStoragePrefix, nil)
	defer accounts.Release()
	defer storage.Release()
	line := &lineage{of: c}
	more, stored := c.nextAccount(accounts), c.nextStorage(storage)
	for err == nil && (more || stored) {
		if more && (!stored || bytes.Compare(accountPath(accounts), trie.Nibbles(c.owner)) <= 0) {
			err = line.node(accountPath(accounts), accounts.Value())
			more = c.nextAccount(accounts)
			continue
		}
		root, complete, swept := common.Hash{}, false, error(nil)
		owner := c.owner
		root, complete, stored, swept = c.storageTrie(storage)
		if err = swept; err == nil {
			err = line.storage(owner, root, complete)
		}
	}
	if err == nil {
		err = line.close(nil)
	}
	for _, it := range []ethdb.Iterator{accounts, storage} {
		if it.Error() != nil {
			return v, disk.health.report(disk.path, it.Error())
		}
	}
	if err == nil {
		err = errors.Join(c.batch.Write(), disk.SyncKeyValue())
	}
	if err != nil {
		return v, err
	}
	if damage, known := d.Damage(); known {
		damage.StateChecked = true
		return v, d.damage.record(&damage)
	}
	return v, nil
}

func accountPath(it ethdb.Iterator) []byte { return it.Key()[len(rawdb.TrieNodeAccountPrefix):] }

// completeness is one run of DiscardIncomplete.
type completeness struct {
	ctx   context.Context //nolint:containedctx // of the one call that it is made for
	chain *Chain
	v     *Discarded
	codes map[common.Hash]bool // codes that were read, and whether they are good
	batch ethdb.Batch
	owner common.Hash // of the storage node that the iterator is at
}

func (c *completeness) nextAccount(it ethdb.Iterator) bool {
	for it.Next() {
		if rawdb.IsAccountTrieNode(it.Key()) {
			return true
		}
	}
	return false
}

func (c *completeness) nextStorage(it ethdb.Iterator) bool {
	for it.Next() {
		if ok, owner, _ := rawdb.ResolveStorageTrieNode(it.Key()); ok {
			c.owner = owner
			return true
		}
	}
	return false
}

// storageTrie visits the nodes of one account. It returns the root that is stored and whether its whole trie is.
func (c *completeness) storageTrie(it ethdb.Iterator) (root common.Hash, complete, more bool, err error) {
	line := &lineage{of: c, owner: c.owner, onRoot: func(hash common.Hash, whole bool) { root, complete = hash, whole }}
	for more = true; more && c.owner == line.owner; more = c.nextStorage(it) {
		_, _, path := rawdb.ResolveStorageTrieNode(it.Key())
		if err := line.node(path, it.Value()); err != nil {
			return common.Hash{}, false, false, err
		}
	}
	return root, complete, more, line.close(nil)
}

// code says whether a code is there, and deletes one that is not what its hash says.
func (c *completeness) code(hash common.Hash) (bool, error) {
	if good, known := c.codes[hash]; known {
		return good, nil
	}
	c.v.Codes++
	code, err := c.chain.Code(hash)
	if err != nil {
		return false, err
	}
	if code == nil {
		c.v.BadCodes++
		rawdb.DeleteCode(c.batch, hash)
	}
	if len(c.codes) >= maxCheckedCodes {
		clear(c.codes)
	}
	c.codes[hash] = code != nil
	return code != nil, nil
}

func (c *completeness) discard(owner common.Hash, path []byte) error {
	c.v.Incomplete++
	if err := c.batch.Delete(nodeKey(owner, path)); err != nil {
		return err
	}
	if c.batch.ValueSize() < completeBatch {
		return nil
	}
	if err := c.batch.Write(); err != nil {
		return err
	}
	c.batch.Reset()
	return nil
}

// lineage is the nodes of one trie from the top down to the place where the iteration is.
type lineage struct {
	of     *completeness
	owner  common.Hash
	open   []*ancestor
	onRoot func(hash common.Hash, complete bool) // called for the node without a path; may be nil
}

// ancestor is a node whose subtree is being visited.
type ancestor struct {
	path     []byte
	hash     common.Hash
	children []reference // child nodes, and storage tries of accounts by the path of the account
	whole    int         // those of children that are complete
	flawed   bool        // something is wrong below it that is not a missing child
	expected bool        // the node above it in the lineage refers to it
}

// node begins a node.
func (l *lineage) node(path, blob []byte) error {
	if l.of.v.Nodes++; l.of.v.Nodes%4096 == 0 && l.of.ctx.Err() != nil {
		return l.of.ctx.Err()
	}
	if err := l.close(path); err != nil {
		return err
	}
	a := &ancestor{path: bytes.Clone(path), hash: crypto.Keccak256Hash(blob)}
	a.expected = l.expects(a.path, a.hash)
	if children, formed := wellFormed(l.owner, path, blob); !formed {
		a.flawed = true
	} else if err := l.refer(a, children); err != nil {
		return err
	}
	l.open = append(l.open, a)
	return nil
}

// expects says whether the lowest open node refers to what is at a path. If it does not, it is flawed: the walk would take
// it for complete together with something that does not belong to it.
func (l *lineage) expects(path []byte, hash common.Hash) bool {
	if len(l.open) == 0 {
		return false
	}
	above := l.open[len(l.open)-1]
	for _, child := range above.children {
		if bytes.Equal(child.path, path) && child.hash == hash {
			return true
		}
	}
	above.flawed = true
	return false
}

// refer collects what a node refers to: its children, the values of which are valid during the call.
func (l *lineage) refer(a *ancestor, children []trie.Child) error {
	for _, child := range children {
		path := append(bytes.Clone(a.path), child.Path...)
		if child.Value == nil {
			a.children = append(a.children, reference{path, child.Hash})
			continue
		}
		if l.owner != (common.Hash{}) {
			continue
		}
		var account types.StateAccount
		if err := rlp.DecodeBytes(child.Value, &account); err != nil {
			return fmt.Errorf("account that decoded before: %w", err)
		}
		if account.Root != types.EmptyRootHash {
			a.children = append(a.children, reference{path, account.Root})
		}
		if hash := common.Hash(account.CodeHash); hash != types.EmptyCodeHash {
			good, err := l.of.code(hash)
			if err != nil {
				return err
			}
			a.flawed = a.flawed || !good
		}
	}
	return nil
}

// storage takes the storage trie of an account in.
func (l *lineage) storage(owner, root common.Hash, complete bool) error {
	path := trie.Nibbles(owner)
	if err := l.close(path); err != nil {
		return err
	}
	if l.expects(path, root) && complete {
		l.open[len(l.open)-1].whole++
	}
	return nil
}

// close ends all nodes that are not above a path; nil: all. Those whose subtrees are not complete are deleted.
func (l *lineage) close(path []byte) error {
	for n := len(l.open); n > 0 && (path == nil || !bytes.HasPrefix(path, l.open[n-1].path)); n = len(l.open) {
		a := l.open[n-1]
		l.open = l.open[:n-1]
		complete := !a.flawed && a.whole == len(a.children)
		if !complete {
			if err := l.of.discard(l.owner, a.path); err != nil {
				return err
			}
		}
		if complete && a.expected {
			l.open[n-2].whole++
		}
		if len(a.path) == 0 && l.onRoot != nil {
			l.onRoot(a.hash, complete)
		}
	}
	return nil
}
