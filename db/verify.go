// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// StateReport is the result of a traversal of the state on disk.
type StateReport struct {
	Root         common.Hash `json:"root"`
	AccountNodes int         `json:"accountNodes"` // on disk, and reachable from the root
	StorageNodes int         `json:"storageNodes"` // likewise
	Accounts     int         `json:"accounts"`
	Slots        int         `json:"slots"`
	Codes        int         `json:"codes"`
	Flaw         string      `json:"flaw,omitempty"` // the first node or code that is missing, wrong or unreferenced; empty: the state is complete
}

// Complete says whether the whole state is on disk, and no other trie node.
func (v StateReport) Complete() bool { return v.Flaw == "" }

// String returns the report in one line.
func (v StateReport) String() string {
	if !v.Complete() {
		return "NOT a complete state: " + v.Flaw
	}
	return fmt.Sprintf("state %x: %d account nodes, %d storage nodes, %d accounts, %d slots, %d codes, nothing missing, nothing unreferenced",
		v.Root, v.AccountNodes, v.StorageNodes, v.Accounts, v.Slots, v.Codes)
}

// flaw returns an error of the state, as opposed to one of reading it.
func flaw(format string, args ...any) error { return &flawError{fmt.Sprintf(format, args...)} }

type flawError struct{ detail string }

func (e *flawError) Error() string { return e.detail }

// VerifyState traverses the state on disk, in go-ethereum's path scheme, and compares every node
// with the hash that its parent names. In a full node that is the state below those in memory. It reads all nodes,
// which takes seconds per million. The error is one of reading, or that of ctx; flaws of the state are in the
// report.
//
// The keys on disk are compared, in their order, with what the nodes refer to. A node's key is a prefix of
// those of its children, so the order is depth-first: each key must be exactly that of the node that is
// expected next. That finds every node that is missing, wrong or unreferenced.
func (d *DB) VerifyState(ctx context.Context) (v StateReport, err error) {
	err = d.chain.traverse(ctx, &v)
	if found := new(flawError); errors.As(err, &found) {
		v.Flaw, err = found.detail, nil
	}
	return v, err
}

func (c *Chain) traverse(ctx context.Context, v *StateReport) error {
	top, err := c.disk.lookup(rawdb.TrieNodeAccountPrefix)
	if err != nil {
		return err
	}
	if top == nil {
		return flaw("no root")
	}
	v.Root = crypto.Keccak256Hash(top)
	codes := make(map[common.Hash]bool)
	storage := c.disk.traversal(rawdb.TrieNodeStoragePrefix, &v.StorageNodes)
	defer storage.it.Release()
	storage.leaf = func([]byte, []byte) error { v.Slots++; return nil }
	accounts := c.disk.traversal(rawdb.TrieNodeAccountPrefix, &v.AccountNodes)
	defer accounts.it.Release()
	accounts.leaf = func(path, value []byte) error {
		v.Accounts++
		var account types.StateAccount
		if err := rlp.DecodeBytes(value, &account); err != nil {
			return flaw("account at %x: %v", path, err)
		}
		if code := common.Hash(account.CodeHash); code != types.EmptyCodeHash {
			codes[code] = true
		}
		if account.Root == types.EmptyRootHash {
			return nil
		}
		key, _ := trie.KeyRange(path)
		return storage.under(ctx, reference{key[:], account.Root})
	}
	if err := accounts.under(ctx, reference{nil, v.Root}); err != nil {
		return err
	}
	if err := errors.Join(accounts.end(), storage.end()); err != nil {
		return err
	}
	for hash := range codes {
		code, err := c.Code(hash)
		if err != nil {
			return err
		}
		if code == nil {
			return flaw("code %x is missing", hash)
		}
	}
	v.Codes = len(codes)
	return nil
}

// reference is a path and the hash that the parent has for the node there.
type reference struct {
	path []byte // after the prefix of its kind: of storage nodes, the account hash and then nibbles
	hash common.Hash
}

// traversal iterates over all nodes of a kind on disk, in the order of their keys.
type traversal struct {
	disk   *disk
	it     ethdb.Iterator
	prefix []byte
	found  *int
	leaf   func(path, value []byte) error
}

func (d *disk) traversal(prefix []byte, found *int) *traversal {
	return &traversal{disk: d, it: d.NewIterator(prefix, nil), prefix: prefix, found: found}
}

// under reads a node and its subtree, which must be next on disk.
func (t *traversal) under(ctx context.Context, top reference) error {
	for ahead := []reference{top}; len(ahead) > 0; { // a stack: the last one is next
		want := ahead[len(ahead)-1]
		ahead = ahead[:len(ahead)-1]
		if *t.found%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		blob, err := t.next(want)
		if err != nil {
			return err
		}
		children, err := trie.Children(blob)
		if err != nil {
			return flaw("node at %x%x: %v", t.prefix, want.path, err)
		}
		for _, c := range children {
			if c.Value != nil {
				if err := t.leaf(slices.Concat(want.path, c.Path), c.Value); err != nil {
					return err
				}
			}
		}
		for _, c := range slices.Backward(children) {
			if c.Value == nil {
				ahead = append(ahead, reference{slices.Concat(want.path, c.Path), c.Hash})
			}
		}
	}
	return nil
}

// next returns the next node on disk, which must be the wanted one.
func (t *traversal) next(want reference) ([]byte, error) {
	if !t.it.Next() {
		if err := t.it.Error(); err != nil {
			return nil, t.disk.health.report(t.disk.path, err)
		}
		return nil, flaw("node %x at %x%x is missing", want.hash, t.prefix, want.path)
	}
	switch c := bytes.Compare(t.it.Key()[len(t.prefix):], want.path); {
	case c < 0:
		return nil, flaw("node at %x is unreferenced", t.it.Key())
	case c > 0:
		return nil, flaw("node %x at %x%x is missing", want.hash, t.prefix, want.path)
	}
	if got := crypto.Keccak256Hash(t.it.Value()); got != want.hash {
		return nil, flaw("node at %x is %x, wanted %x", t.it.Key(), got, want.hash)
	}
	*t.found++
	return t.it.Value(), nil
}

// end checks that no more nodes are on disk.
func (t *traversal) end() error {
	if t.it.Next() {
		return flaw("node at %x is unreferenced", t.it.Key())
	}
	if err := t.it.Error(); err != nil {
		return t.disk.health.report(t.disk.path, err)
	}
	return nil
}
