// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// reference is a path and the hash that the parent has for the node there.
type reference struct {
	path []byte // after the prefix of its kind: of storage nodes, the account hash and then nibbles
	hash common.Hash
}

// section is a range of keys of a verification: the nodes of the account trie from a path up to the one that the next section begins
// with, and the storage and flat state of the accounts there.
type section struct {
	of    *verification
	top   reference
	alone bool   // other sections have what is below the top node
	next  []byte // nil: this is the last section

	first, limit []byte // account keys of the section, limit excluded; nil: there is none

	nodes, storage, accounts, slots *expected
	slim                            []byte
}

// share is the part of the key space that the section has.
func (s *section) share() int64 {
	if s.alone {
		return 0
	}
	return keySpace >> (4 * len(s.top.path))
}

// verify compares the section's keys with what the nodes refer to.
func (s *section) verify(ctx context.Context) error {
	disk := s.of.chain.disk
	s.nodes = disk.expect(rawdb.TrieNodeAccountPrefix, s.top.path, s.next)
	defer s.nodes.it.Release()
	if s.alone {
		if _, err := s.node(s.nodes, s.top); err != nil {
			return err
		}
		s.of.accountNodes.Add(1)
		return s.nodes.end()
	}
	s.storage = disk.expect(rawdb.TrieNodeStoragePrefix, s.first, s.limit)
	defer s.storage.it.Release()
	if s.of.flat {
		s.accounts, s.slots = disk.expect(rawdb.SnapshotAccountPrefix, s.first, s.limit), disk.expect(rawdb.SnapshotStoragePrefix, s.first, s.limit)
		defer s.accounts.it.Release()
		defer s.slots.it.Release()
	}
	n, err := s.under(ctx, s.nodes, s.top, s.account(ctx))
	s.of.accountNodes.Add(int64(n))
	if err != nil {
		return err
	}
	errs := []error{s.nodes.end(), s.storage.end()}
	if s.of.flat {
		errs = append(errs, s.accounts.end(), s.slots.end())
	}
	return errors.Join(errs...)
}

// account verifies what the leaves of the account trie refer to.
func (s *section) account(ctx context.Context) func(path, value []byte) error {
	return func(path, value []byte) error {
		s.of.accounts.Add(1)
		var account types.StateAccount
		if err := rlp.DecodeBytes(value, &account); err != nil {
			return flaw("account at %x: %v", path, err)
		}
		key, _ := trie.KeyRange(path)
		if s.of.flat {
			var err error
			if s.slim, err = slimAccount(s.slim[:0], value); err != nil {
				return flaw("account at %x: %v", path, err)
			}
			if err := s.accounts.leaf(key[:], s.slim); err != nil {
				return err
			}
		}
		if code := common.Hash(account.CodeHash); code != types.EmptyCodeHash {
			if err := s.of.code(code); err != nil {
				return err
			}
		}
		if account.Root == types.EmptyRootHash {
			return nil
		}
		n, err := s.under(ctx, s.storage, reference{key[:], account.Root}, func(path, value []byte) error {
			s.of.slots.Add(1)
			if !s.of.flat {
				return nil
			}
			slot, _ := trie.KeyRange(path[common.HashLength:])
			return s.slots.leaf(slices.Concat(key[:], slot[:]), value)
		})
		s.of.storageNodes.Add(int64(n))
		return err
	}
}

// under reads a node and its subtree, which must be next on disk, and calls leaf for its leaves, in the order of their keys.
func (s *section) under(ctx context.Context, keys *expected, top reference, leaf func(path, value []byte) error) (nodes int, err error) {
	type entry struct {
		reference
		value []byte // of a leaf; nil: a node
	}
	for ahead := []entry{{reference: top}}; len(ahead) > 0; { // a stack: the last one is next
		want := ahead[len(ahead)-1]
		ahead = ahead[:len(ahead)-1]
		if want.value != nil {
			if err := leaf(want.path, want.value); err != nil {
				return nodes, err
			}
			continue
		}
		if nodes%4096 == 0 && ctx.Err() != nil {
			return nodes, ctx.Err()
		}
		blob, err := s.node(keys, want.reference)
		if err != nil {
			return nodes, err
		}
		nodes++
		children, err := trie.Children(blob)
		if err != nil {
			return nodes, flaw("node at %x%x: %v", keys.prefix, want.path, err)
		}
		for _, c := range slices.Backward(children) {
			if len(children) > 1 {
				c.Value = bytes.Clone(c.Value) // the iterator may move on before
			}
			ahead = append(ahead, entry{reference{slices.Concat(want.path, c.Path), c.Hash}, c.Value})
		}
	}
	return nodes, nil
}

// node returns the next node on disk, which must be the wanted one.
func (s *section) node(keys *expected, want reference) ([]byte, error) {
	s.of.nodes.Add(1)
	found, err := keys.next(want.path)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, flaw("node %x at %x%x is missing", want.hash, keys.prefix, want.path)
	}
	if got := crypto.Keccak256Hash(keys.it.Value()); got != want.hash {
		return nil, flaw("node at %x is %x, wanted %x", keys.it.Key(), got, want.hash)
	}
	return keys.it.Value(), nil
}

// expected iterates over keys with a prefix, each of which must be the one that is expected next.
type expected struct {
	disk   *disk
	it     ethdb.Iterator
	prefix []byte
	limit  []byte // the first key, after the prefix, that is not in the range any more; nil: there is none
}

func (d *disk) expect(prefix, from, limit []byte) *expected {
	return &expected{disk: d, it: d.NewIterator(prefix, from), prefix: prefix, limit: limit}
}

// next goes to the next key. found is false if a later key follows, or none.
func (e *expected) next(want []byte) (found bool, err error) {
	if !e.it.Next() {
		return false, e.err()
	}
	c := bytes.Compare(e.it.Key()[len(e.prefix):], want)
	if c < 0 {
		return false, flaw("%x is unreferenced", e.it.Key())
	}
	return c == 0, nil
}

// leaf goes to the next key of the flat state, which must be that of a leaf with this value.
func (e *expected) leaf(key, value []byte) error {
	found, err := e.next(key)
	switch {
	case err != nil:
		return err
	case !found:
		return flaw("leaf %x%x is missing in the flat state", e.prefix, key)
	case !bytes.Equal(e.it.Value(), value):
		return flaw("leaf %x%x is %x in the flat state, %x in the trie", e.prefix, key, e.it.Value(), value)
	}
	return nil
}

// end checks that no more keys are in the range.
func (e *expected) end() error {
	if e.it.Next() && (e.limit == nil || bytes.Compare(e.it.Key()[len(e.prefix):], e.limit) < 0) {
		return flaw("%x is unreferenced", e.it.Key())
	}
	return e.err()
}

func (e *expected) err() error {
	if err := e.it.Error(); err != nil {
		return e.disk.health.report(e.disk.path, err)
	}
	return nil
}
