// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"bytes"
	"container/heap"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/ethereum/go-ethereum/common"
)

const (
	// maxAhead is how many items are visited together: their children are looked up together next. It bounds how far the walk
	// leaves the order of the keys.
	maxAhead = 256
	// usualParallel is how many of them are looked up at the same time. Where reads go to the disk, that is its queue.
	usualParallel = 32
)

// found is what the local stores have for an item.
type found struct {
	blob     []byte // at the path; nil: nothing
	complete bool   // it has the wanted hash
	below    bool   // blob is nil, and there are nodes below the path
	leaves   bool   // there are neither, but leaves in the flat state
	storage  bool   // in the account trie, without blob: accounts below the path may have storage
	local    []byte // the wanted node, in the local store; nil: not there, or not looked for
	asked    bool   // it was looked for
	err      error
}

// look reads what the local stores have for an item. It changes nothing, and may be called concurrently.
func (w *Walker) look(it *item) (f found) {
	first, last := KeyRange(it.Path)
	if !it.empty {
		if f.blob, f.err = w.cfg.Complete.Node(it.Owner, it.Path); f.err != nil {
			return f
		}
		if f.complete = f.blob != nil && hashOf(f.blob) == it.Hash; f.complete {
			return f
		}
	}
	if !it.empty && f.blob == nil {
		path, ok, err := w.cfg.Complete.NextNode(it.Owner, it.Path)
		f.below, f.err = ok && bytes.HasPrefix(path, it.Path), err
		if f.err == nil && !f.below {
			key, ok, err := w.cfg.Complete.NextLeaf(it.Owner, first)
			f.leaves, f.err = ok && key.Cmp(last) <= 0, err
		}
	}
	if f.err == nil && it.account() && !it.noStorage && f.blob == nil {
		owner, ok, err := w.cfg.Complete.NextOwner(first)
		f.storage, f.err = ok && owner.Cmp(last) <= 0, err
	}
	if f.err != nil || f.blob == nil && !f.below || w.cfg.Local == nil {
		return f // perhaps it is part of a range
	}
	f.asked = true
	f.local, f.err = w.cfg.Local.Node(it.Owner, it.Path, it.Hash)
	return f
}

// lookUp looks many items up, several at the same time.
func (w *Walker) lookUp(items []*item) []found {
	all := make([]found, len(items))
	w.inParallel(len(items), func(i int) { all[i] = w.look(items[i]) })
	return all
}

// inParallel calls do for all numbers below n, several at the same time.
func (w *Walker) inParallel(n int, do func(i int)) {
	var (
		next  atomic.Int64
		group sync.WaitGroup
	)
	each := func() {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			do(i)
		}
	}
	for range min(w.parallel, n) - 1 {
		group.Go(each)
	}
	each()
	group.Wait()
}

// lookUpCodes finds out which codes of accounts are not in the store. Those that are known already are not looked up.
func (w *Walker) lookUpCodes(accounts []Account) error {
	var codes []common.Hash
	for _, a := range accounts {
		if _, asked := w.waiting[a.CodeHash]; asked || a.CodeHash == (common.Hash{}) || w.absent[a.CodeHash] || w.cfg.Codes.has(a.CodeHash) {
			continue
		}
		codes = append(codes, a.CodeHash)
		w.absent[a.CodeHash] = true
	}
	has, errs := make([]bool, len(codes)), make([]error, len(codes))
	w.inParallel(len(codes), func(i int) { has[i], errs[i] = w.cfg.Complete.HasCode(codes[i]) })
	for i, code := range codes {
		if has[i] {
			w.cfg.Codes.add(code)
			delete(w.absent, code)
		}
	}
	return errors.Join(errs...)
}

// hasCode says whether a code is in the store.
func (w *Walker) hasCode(code common.Hash) (bool, error) {
	if w.absent[code] {
		return false, nil
	}
	return w.cfg.Complete.HasCode(code)
}

// Parallel sets how many items are looked up in the local stores at the same time; 0: as many as usual. With one, more important
// work has the processors and the disk.
func (w *Walker) Parallel(n int) {
	if w.parallel = n; n == 0 {
		w.parallel = usualParallel
	}
}

// visitAhead visits the next items for which the local stores have something. They are taken together, and so are all their
// children in the next call, so that a walk over changed nodes waits for many reads of the disk at once.
func (w *Walker) visitAhead() (visited int, err error) {
	var batch, aside []*item
	for w.queue.Len() > 0 && len(batch) < maxAhead && len(aside) < maxAhead {
		it := heap.Pop(&w.queue).(*item)
		if it.visited || it.empty {
			aside = append(aside, it)
			continue
		}
		w.division.locate(it) // its trie may be known as large by now
		batch = append(batch, it)
	}
	for _, it := range aside {
		heap.Push(&w.queue, it)
	}
	for i, f := range w.lookUp(batch) {
		missing, err := w.visit(batch[i], &f)
		if err != nil {
			return len(batch), err
		}
		if missing {
			w.miss(batch[i])
		}
	}
	return len(batch), nil
}

// miss finds a place for a visited item that has to be fetched.
func (w *Walker) miss(it *item) {
	switch {
	case w.delegates(it):
		w.delegate(it)
	case it.ranged(w):
		heap.Push(&w.queue, it)
	default:
		w.lookups = append(w.lookups, it)
	}
}
