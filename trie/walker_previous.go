// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"bytes"
	"iter"
	"slices"

	"github.com/ethereum/go-ethereum/common"
)

// previous is the version of a node that the store had at the same path. That node was in the store, so its
// whole subtree is, and nothing else below it. What both versions have in common needs no lookup: after a few
// blocks, a walk costs a few reads per changed node, and none for its siblings. nil: the store had no other
// version.
type previous struct {
	path     []byte // of the node
	children []Child
}

func newPrevious(it *item) (*previous, error) {
	if it.previous == nil {
		return nil, nil
	}
	children, err := Children(it.previous)
	if err != nil {
		return nil, err
	}
	return &previous{path: it.Path, children: children}, nil
}

// has says whether a child is complete: the previous version had the same hash at the same path.
func (p *previous) has(c Child) bool {
	return p != nil && slices.ContainsFunc(p.children, func(old Child) bool {
		return old.Value == nil && old.Hash == c.Hash && bytes.Equal(old.Path, c.Path)
	})
}

// value returns the value of the leaf at a path from the node, nil if there was none.
func (p *previous) value(path []byte) []byte {
	if p == nil {
		return nil
	}
	for _, old := range p.children {
		if old.Value != nil && bytes.Equal(old.Path, path) {
			return old.Value
		}
	}
	return nil
}

// values returns the leaves in the previous version itself, by key. They have no nodes of their own.
func (p *previous) values() iter.Seq2[common.Hash, Child] {
	return func(yield func(common.Hash, Child) bool) {
		if p == nil {
			return
		}
		for _, old := range p.children {
			if len(p.path)+len(old.Path) != KeyLen {
				continue
			}
			key, _ := KeyRange(slices.Concat(p.path, old.Path))
			if old.Value != nil && !yield(key, old) {
				return
			}
		}
	}
}

// nodesWithin says whether the store may have nodes from one path up to another, which is excluded.
func (p *previous) nodesWithin(from, to []byte) bool {
	return p == nil || slices.ContainsFunc(p.children, func(old Child) bool {
		path := slices.Concat(p.path, old.Path)
		return old.Value == nil && bytes.Compare(path, to) < 0 && bytes.Compare(after(path), from) > 0
	})
}
