// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
)

// need makes the need for the children of the root as the walker does, from the first to the last one given.
func (w *fullTrie) need(t *testing.T, kind NeedKind, owner common.Hash, from, to int) *Need {
	t.Helper()
	children, err := Children(w.nodes[""].Blob)
	if err != nil {
		t.Fatal(err)
	}
	n := &Need{Kind: kind}
	for _, c := range children[from : to+1] {
		n.Refs = append(n.Refs, NodeRef{Owner: owner, Path: c.Path, Hash: c.Hash})
	}
	n.Origin, _ = KeyRange(n.Refs[0].Path)
	_, n.Limit = KeyRange(n.Refs[len(n.Refs)-1].Path)
	return n
}

// answered are the leaves from origin to the first one at or above limit, and whether they end there
// because the trie does.
func (w *fullTrie) answered(origin, limit common.Hash) (keys []common.Hash, values [][]byte, end bool) {
	from, _ := slices.BinarySearchFunc(w.keys, origin, common.Hash.Cmp)
	to, _ := slices.BinarySearchFunc(w.keys, limit, common.Hash.Cmp)
	end = to == len(w.keys)
	to = min(to+1, len(w.keys))
	return w.keys[from:to], w.values[from:to], end
}

func proved(d *Delivery) (n int) {
	for _, p := range d.Pieces {
		if p != nil && p.Nodes != nil {
			n++
		}
	}
	return n
}

// TestNeedMatch: what a peer may leave out, and what it may not.
func TestNeedMatch(t *testing.T) {
	w := newFullTrie(rand.New(rand.NewPCG(5, 6)), 3000, false)
	owner := common.Hash{1}
	children, _ := Children(w.nodes[""].Blob)
	last := len(children) - 1
	if last < 9 {
		t.Fatal("too few children")
	}
	match := func(n *Need, keys []common.Hash, values, proof [][]byte) (*Delivery, error) {
		return n.Match([][]common.Hash{keys}, [][][]byte{values}, proof)
	}
	invalid := func(what string, err error) {
		t.Helper()
		var l *InvalidRangeError
		if !errors.As(err, &l) {
			t.Errorf("%s: %v, want a invalid", what, err)
		}
	}
	unproved := func(what string, err error) {
		t.Helper()
		var u *UnprovedRangeError
		if !errors.As(err, &u) {
			t.Errorf("%s: %v, want an unproved range", what, err)
		}
	}
	for from := 0; from <= last; from++ {
		n := w.need(t, NeedSlots, owner, from, last)
		keys, values, end := w.answered(n.Origin, n.Limit)
		proof := w.prove(n.Origin, keys[len(keys)-1])
		if from == 0 {
			proof = nil // the whole trie
		}
		d, err := match(n, keys, values, proof)
		if err != nil || !end {
			t.Fatalf("from child %d: %v", from, err)
		}
		// The right edge of a trie is proved node by node, all else by rebuilding.
		if got := proved(d); got < last-from || from == 0 && got != last+1 || slices.Contains(d.Pieces, nil) {
			t.Errorf("from child %d: %d of %d subtrees", from, got, last+1-from)
		}
	}

	n := w.need(t, NeedSlots, owner, 2, 8)
	keys, values, _ := w.answered(n.Origin, n.Limit)
	for cut := range 6 { // exactly behind the leaves of one child more
		_, edge := KeyRange(n.Refs[cut].Path)
		end, _ := slices.BinarySearchFunc(keys, edge, common.Hash.Cmp)
		d, err := match(n, keys[:end], values[:end], w.prove(n.Origin, keys[end-1]))
		if err != nil || proved(d) != cut || d.Pieces[cut] == nil || d.Pieces[cut+1] != nil {
			t.Errorf("cut behind child %d: %d subtrees, %v", cut, proved(d), err)
		}
		d, err = match(n, keys[:end], values[:end], nil)
		if cut > 0 && (err != nil || proved(d) != cut || d.Pieces[cut] != nil) {
			t.Errorf("cut behind child %d without a proof: %d subtrees, %v", cut, proved(d), err)
		} else if cut == 0 {
			invalid("cut behind the first child without a proof", err)
		}
	}
	if d, err := match(n, nil, nil, nil); err != nil || proved(d) != 0 {
		t.Errorf("nothing: %v", err)
	}
	if d, err := match(w.need(t, NeedSlots, owner, 0, last), keys, values, nil); err != nil || proved(d) != 7 {
		t.Errorf("a part as the whole trie: %d subtrees, %v", proved(d), err)
	}
	_, err := match(n, w.keys, w.values, nil)
	invalid("leaves before the origin", err)

	// Whole storage tries: those of the wrong account, too many, or cut without a proof.
	other := newFullTrie(rand.New(rand.NewPCG(7, 8)), 40, false)
	n = &Need{Kind: NeedStorage, Refs: []NodeRef{{Owner: owner, Hash: w.root}, {Owner: common.Hash{2}, Hash: other.root}}}
	if d, err := n.Match([][]common.Hash{w.keys, other.keys}, [][][]byte{w.values, other.values}, nil); err != nil || proved(d) != 2 {
		t.Errorf("two storage tries: %v", err)
	}
	if d, err := n.Match([][]common.Hash{w.keys}, [][][]byte{w.values}, nil); err != nil || proved(d) != 1 {
		t.Errorf("one of two storage tries: %v", err)
	}
	_, err = n.Match([][]common.Hash{other.keys, w.keys}, [][][]byte{other.values, w.values}, nil)
	unproved("storage of each other", err)
	_, err = n.Match([][]common.Hash{w.keys, other.keys, other.keys}, [][][]byte{w.values, other.values, other.values}, nil)
	invalid("three storage tries", err)
	// geth sends these when its layers change meanwhile: what is right counts.
	for what, part := range map[string]int{"a part of": 9, "nothing for": 0} {
		d, err := n.Match([][]common.Hash{w.keys[:part], other.keys}, [][][]byte{w.values[:part], other.values}, nil)
		if err != nil || d.Pieces[0] != nil || d.Pieces[1] == nil {
			t.Errorf("%s a storage trie before a whole one: %+v, %v", what, d, err)
		}
		_, err = n.Match([][]common.Hash{w.keys[:part]}, [][][]byte{w.values[:part]}, nil)
		unproved(what+" a storage trie", err)
	}
}
