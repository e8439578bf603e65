// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"bytes"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// guard is chaindata as go-ethereum's path database reads it. Its generator of the flat state reads trie nodes by path,
// compares no hash, and panics, or ends the process, on a node or an account that does not decode: in a goroutine of its
// own, so that nobody can recover from that. So a node that cannot be in the trie of a state is absent here. The
// generator then pauses, and the damage is reported.
type guard struct {
	ethdb.Database
	full *Full
}

// Get implements ethdb.KeyValueReader.
func (g guard) Get(key []byte) ([]byte, error) {
	blob, err := g.Database.Get(key)
	owner, path, ok := nodeOf(key)
	if !ok || len(path) == 0 && err != nil { // without a root there is no state
		return blob, err
	}
	if err == nil {
		if _, formed := wellFormed(owner, path, blob); formed {
			return blob, nil
		}
	}
	if g.full.health.check() == nil {
		var hash common.Hash
		if err == nil {
			hash = crypto.Keccak256Hash(blob)
		}
		g.full.report(DamagedNode, describe(owner, path, hash))
	}
	return nil, errNotFound
}

// nodeOf returns the owner and path of the trie node that a key is of.
func nodeOf(key []byte) (owner common.Hash, path []byte, ok bool) {
	if ok, path = rawdb.ResolveAccountTrieNodeKey(key); !ok {
		if ok, owner, path = rawdb.ResolveStorageTrieNode(key); !ok {
			return common.Hash{}, nil, false
		}
	}
	return owner, path, !bytes.ContainsFunc(path, func(nibble rune) bool { return nibble > 15 })
}

// wellFormed says whether a node can be at this path in the trie of a state: it decodes, its leaves have keys of the
// right length, and those of the account trie are accounts. Then it returns what the node refers to, whose values are parts
// of blob.
func wellFormed(owner common.Hash, path, blob []byte) (children []trie.Child, is bool) {
	children, err := trie.Children(blob)
	if err != nil {
		return nil, false
	}
	for _, child := range children {
		switch depth := len(path) + len(child.Path); {
		case child.Value == nil && depth >= trie.KeyLen, child.Value != nil && depth != trie.KeyLen:
			return nil, false
		case child.Value != nil && owner == (common.Hash{}):
			if rlp.DecodeBytes(child.Value, new(types.StateAccount)) != nil {
				return nil, false
			}
		}
	}
	return children, true
}
