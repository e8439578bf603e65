package trie

import (
	"bytes"
	"slices"
)

// before is what Solid had below a node in another version, which it had at the same place. That node
// was there, so everything that it refers to is, and nothing else under it. What did not
// change between the versions need not be looked up: a state that a few blocks changed costs a
// few reads for each node that they changed, instead of some for each of its siblings as well. nil: nothing is
// known.
type before struct {
	path     []byte // of the node
	children []Child
}

func newBefore(it *item) (*before, error) {
	if it.old == nil {
		return nil, nil
	}
	children, err := Children(it.old)
	if err != nil {
		return nil, err
	}
	return &before{path: it.Path, children: children}, nil
}

// has says whether a child is complete: it was a child with the same hash at the same place.
func (b *before) has(c Child) bool {
	return b != nil && slices.ContainsFunc(b.children, func(old Child) bool {
		return old.Value == nil && old.Hash == c.Hash && bytes.Equal(old.Path, c.Path)
	})
}

// value returns the value of the leaf at a path from the node, nil if there was none.
func (b *before) value(path []byte) []byte {
	if b == nil {
		return nil
	}
	for _, old := range b.children {
		if old.Value != nil && bytes.Equal(old.Path, path) {
			return old.Value
		}
	}
	return nil
}

// within says whether Solid may have something from one path up to another, which is excluded.
func (b *before) within(from, to []byte) bool {
	return b == nil || slices.ContainsFunc(b.children, func(old Child) bool {
		path := slices.Concat(b.path, old.Path)
		return bytes.Compare(path, to) < 0 && bytes.Compare(after(path), from) > 0
	})
}
