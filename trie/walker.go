// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"container/heap"
	"errors"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"
)

// CompleteStore keeps trie nodes by owner and path, each only together with its whole subtree. The
// package comment has its rules; the [Walker] keeps them and is the only writer.
type CompleteStore interface {
	// Node returns the node at the path, nil if there is none.
	Node(owner common.Hash, path []byte) ([]byte, error)
	// NextNode returns the path of the owner's first node at or after from, in depth-first order:
	// a node is before its subtree, and its subtree is before its next sibling.
	NextNode(owner common.Hash, from []byte) (path []byte, ok bool, err error)
	// NextOwner returns the first account at or after from that has storage nodes or slots in the flat state.
	NextOwner(from common.Hash) (owner common.Hash, ok bool, err error)
	// NextLeaf returns the key of the owner's first leaf in the flat state at or after from. A store without flat
	// state has none.
	NextLeaf(owner, from common.Hash) (key common.Hash, ok bool, err error)
	HasCode(hash common.Hash) (bool, error)
}

// CompleteWriter changes a [CompleteStore]. Changes take effect in the order of the calls: at any
// moment, also after a crash, the store has the result of the first n changes, for some n. Flush
// waits until n is all of them. After a method has failed, all of them fail.
type CompleteWriter interface {
	Put(owner common.Hash, path, blob []byte) error
	Delete(owner common.Hash, path []byte) error
	// DeleteNodes deletes the owner's nodes from one path up to another, which is excluded.
	// The last nibble of a path may be 16, which is after all its siblings.
	DeleteNodes(owner common.Hash, from, to []byte) error
	// PutLeaf writes a leaf of the flat state, with the value that it has in the trie. A store without flat state
	// ignores it, and deletions of leaves.
	PutLeaf(owner, key common.Hash, value []byte) error
	DeleteLeaf(owner, key common.Hash) error
	// DeleteLeaves deletes the owner's leaves from the first key to the last, both included.
	DeleteLeaves(owner, first, last common.Hash) error
	// Large says that the storage of an account will be changed in many parts, while storage of accounts before and after it is.
	// It may be said again.
	Large(owner common.Hash)
	// DeleteOwner deletes all storage nodes of an account, and then its slots in the flat state.
	DeleteOwner(owner common.Hash) error
	Flush() error
}

// NeedKind is the kind of a [Need].
type NeedKind uint8

// The kinds of needs.
const (
	NeedNodes    NeedKind = iota // single nodes
	NeedCodes                    // codes
	NeedAccounts                 // leaves of the account trie from Origin to Limit
	NeedStorage                  // all leaves of the storage tries of several accounts
	NeedSlots                    // leaves of one storage trie from Origin to Limit
	NeedSubtrees                 // all leaves under several nodes of any tries
)

// String returns the kind as metrics and logs spell it.
func (k NeedKind) String() string {
	return [...]string{"nodes", "codes", "accounts", "storage", "slots", "subtrees"}[k]
}

// Need is something that the walker cannot find locally. It returns to the walker exactly once:
// by Found, Give, Deliver or Return.
type Need struct {
	Kind          NeedKind
	Refs          []NodeRef // in the order of the walk; empty for NeedCodes
	Codes         []common.Hash
	Origin, Limit common.Hash // of NeedAccounts and NeedSlots: keys, both included

	items []*item
}

// Delivery is the part of a need that a response proved.
type Delivery struct {
	Pieces  []*Piece // for each of Refs, or nil
	Leaves  int      // proved and new
	Refused int      // refs for which the response was empty

	totals  []float64 // estimated leaves of the trie of each ref; 0: unknown
	refused []bool    // by ref; nil: none
}

// Match verifies a response. For NeedStorage there is one list of leaves per ref, and the last ones may be absent.
// For the other ranges there is one list. proof is the range proof of the last list; for NeedStorage, a list
// without a proof is a whole trie. NeedSubtrees is as NeedStorage, but an empty list is a refusal. The error is
// that of [Leaves.Match]. A wrong list without a proof counts as absent; the error is an *[UnprovedRangeError] if
// there is nothing else.
func (n *Need) Match(keys [][]common.Hash, values [][][]byte, proof [][]byte) (*Delivery, error) {
	if n.Kind == NeedSubtrees {
		return n.matchSubtrees(keys, values, proof)
	}
	d := &Delivery{Pieces: make([]*Piece, len(n.Refs)), totals: make([]float64, len(n.Refs))}
	leaves := Leaves{Origin: n.Origin, Proof: proof}
	if n.Kind != NeedStorage && len(keys) > 0 {
		leaves.Keys, leaves.Values = keys[0], values[0]
		leaves.Whole = len(keys[0]) > 0 && len(proof) == 0 && n.Origin == (common.Hash{})
	}
	if n.Kind == NeedStorage && len(keys) > len(n.Refs) {
		return nil, &InvalidRangeError{fmt.Sprintf("%d storage tries, %d were asked for", len(keys), len(n.Refs))}
	}
	var unproved error
	for i, ref := range n.Refs {
		if n.Kind == NeedStorage {
			if i == len(keys) {
				break
			}
			leaves = Leaves{Keys: keys[i], Values: values[i], Whole: true}
			if i == len(keys)-1 && len(proof) > 0 {
				leaves.Whole, leaves.Proof = false, proof
			}
		}
		piece, err := leaves.Match(ref)
		if invalid := (*InvalidRangeError)(nil); leaves.Whole && errors.As(err, &invalid) {
			unproved = &UnprovedRangeError{invalid.Detail}
			continue
		}
		if err != nil {
			return nil, err
		}
		d.Pieces[i], d.totals[i] = piece, leaves.total()
		d.Leaves += piece.leaves()
	}
	if slices.ContainsFunc(d.Pieces, func(p *Piece) bool { return p != nil }) {
		return d, nil
	}
	if unproved != nil {
		return nil, unproved
	}
	if len(leaves.Keys) > 0 && len(proof) == 0 {
		return nil, &InvalidRangeError{fmt.Sprintf("%d leaves without a range proof", len(leaves.Keys))}
	}
	return d, nil
}

func (p *Piece) leaves() int {
	if p == nil {
		return 0
	}
	n := len(p.Keys)
	for _, below := range p.Below {
		n += below.leaves()
	}
	return n
}

// Sizes of needs, chosen for responses of about half a megabyte: a server takes 10 to 20 ms for
// one, and an urgent request waits for it.
const (
	rangeLeaves = 7000 // leaves that a range request should bring, see WalkerConfig
	maxRuns     = 64   // refs in a range request
	maxTries    = 512  // storage tries in a request
	maxLookups  = 1024 // nodes in a request: what a server of GetNodeData gives
	maxCodes    = 96   // codes in a request: 6 kB each on average, 24 kB at most
	maxDeferred = 64   // ranges that are skipped in the search for lookups
	maxSteps    = 2000 // items visited in one call
	minSample   = 256  // leaves that are enough to estimate a density
)

// MaxSubtrees is how many subtrees a request may have.
const MaxSubtrees = 256

// WalkerConfig is what a [Walker] works with.
type WalkerConfig struct {
	Root     common.Hash // of the state to complete
	Seed     common.Hash // the key at which the walk begins
	Complete CompleteStore
	Writer   CompleteWriter
	Local    Store    // read before a node is requested: Hot
	Codes    *CodeSet // that are known to be in Complete; nil: none. Later walkers may go on with it

	RangeLeaves int // leaves that a range request should bring; 0: 7000
	MaxBuffered int // bytes of proved nodes that wait for their subtrees; above it no account ranges are requested; 0: 256 MiB
}

// Walker completes one state in a [CompleteStore]. It is a pure state machine: Next returns what is needed,
// Deliver, Give, Found and Return take the responses, and nodes are written as their subtrees become complete. It
// fetches nothing, and is not safe for concurrent use. Its stores are: Next reads them in parallel. After an error it must not
// be used; a new walker continues from what was written, also towards another root.
//
// The walk descends from the root. An [item] is a wanted node. If the store has the
// wanted hash at its path, it is complete. Otherwise what is there is deleted, the node is
// found locally or needed from elsewhere, what the new version of it does not have is deleted, and its
// children become items. A [unit] holds nodes until all items under them are complete; then it
// is written. Where the store has nothing, whole subtrees are needed as ranges of leaves.
//
// Items are taken in the order of their keys, from the seed upward and wrapping around, all storage of an
// account before its next sibling. Items for which there is something local are taken many at a time.
type Walker struct {
	cfg      WalkerConfig
	queue    itemQueue
	lookups  []*item                 // waiting for a NeedNodes
	codes    []common.Hash           // waiting for a NeedCodes
	waiting  map[common.Hash][]*unit // for codes
	absent   map[common.Hash]bool    // codes that were looked up for the accounts in work, and are not in the store
	total    float64                 // estimated accounts; 0: unknown
	inFlight int                     // needs that have not returned
	parallel int                     // lookups at the same time
	buffered int                     // bytes in units
	byNodes  bool
	division division
	done     bool
	progress WalkProgress
	extent   extent
}

// WalkProgress counts the work of a walk.
type WalkProgress struct {
	Share    float64 // of the account trie's key space that is complete, 0 to 1
	Kept     float64 // part of Share that was complete before the walk
	Accounts uint64  // leaves that were delivered or read on changed paths
	Slots    uint64
	Codes    uint64 // fetched
	Nodes    uint64 // written
	Buffered int    // bytes of nodes that wait for their subtrees
	Queued   int    // items
	InFlight int    // needs
}

// NewWalker returns a walker at the beginning of its walk.
func NewWalker(cfg WalkerConfig) *Walker {
	if cfg.RangeLeaves == 0 {
		cfg.RangeLeaves = rangeLeaves
	}
	if cfg.MaxBuffered == 0 {
		cfg.MaxBuffered = 256 << 20
	}
	if cfg.Codes == nil {
		cfg.Codes = NewCodeSet()
	}
	w := &Walker{cfg: cfg, waiting: make(map[common.Hash][]*unit), absent: make(map[common.Hash]bool), division: newDivision(), parallel: usualParallel}
	w.extent.open = make(map[common.Hash]*Tract)
	heap.Push(&w.queue, w.newItem(item{NodeRef: NodeRef{Hash: cfg.Root}}))
	return w
}

// ByNodes says whether to request no ranges, because no peer serves them. It is slow.
func (w *Walker) ByNodes(on bool) {
	if w.byNodes && !on { // a waiting node may be part of a range now
		for _, it := range w.lookups {
			heap.Push(&w.queue, it)
		}
		w.lookups = nil
	}
	w.byNodes = on
}

// Done says whether the root is in the store and flushed.
func (w *Walker) Done() bool { return w.done }

// Progress returns the counts so far.
func (w *Walker) Progress() WalkProgress {
	p := w.progress
	p.Buffered, p.Queued, p.InFlight = w.buffered, w.queue.Len()+len(w.lookups), w.inFlight
	p.Share = min(p.Share, 1)
	return p
}

// Next returns a need of the kinds that may be requested now, or nil. more says that local work is left: call
// Next again soon.
func (w *Walker) Next(ranges, lookups bool) (need *Need, more bool, err error) {
	var deferred []*item
	defer func() {
		for _, it := range deferred {
			heap.Push(&w.queue, it)
		}
		if need != nil {
			w.inFlight++
		}
	}()
	if lookups && len(w.codes) > 0 {
		n := min(len(w.codes), maxCodes)
		need = &Need{Kind: NeedCodes, Codes: w.codes[:n:n]}
		w.codes = w.codes[n:]
		return need, false, nil
	}
	for steps := 0; w.queue.Len() > 0 && len(deferred) < maxDeferred && len(w.lookups) < maxLookups; steps++ {
		if steps >= maxSteps {
			return nil, true, nil
		}
		if next := w.queue[0]; !next.visited && !next.empty {
			visited, err := w.visitAhead()
			if err != nil {
				return nil, false, err
			}
			steps += visited - 1
			continue
		}
		it := heap.Pop(&w.queue).(*item)
		w.division.locate(it) // its trie may be known as large by now
		missing, err := w.visit(it, nil)
		if err != nil {
			return nil, false, err
		}
		switch {
		case !missing:
		case w.delegates(it) || !it.ranged(w):
			w.miss(it)
		case !ranges || it.account() && w.buffered > w.cfg.MaxBuffered && w.inFlight > 0:
			deferred = append(deferred, it)
		default:
			return w.rangeNeed(it), false, nil
		}
	}
	if lookups && len(w.lookups) > 0 {
		n := min(len(w.lookups), maxLookups)
		need = &Need{Kind: NeedNodes, items: w.lookups[:n:n]}
		w.lookups = w.lookups[n:]
		for _, it := range need.items {
			need.Refs = append(need.Refs, it.NodeRef)
		}
		return need, false, nil
	}
	return nil, false, nil
}

// rangeNeed makes a need of an item and of the following items that fit into the same request: many
// small storage tries, or neighbours in one trie.
func (w *Walker) rangeNeed(it *item) *Need {
	need := &Need{Kind: NeedSlots, items: []*item{it}}
	most := maxRuns
	if it.account() {
		need.Kind = NeedAccounts
	} else if len(it.Path) == 0 {
		need.Kind, most = NeedStorage, maxTries
	}
	leaves := it.leaves(w)
	for w.queue.Len() > 0 && len(need.items) < most {
		next := w.queue[0]
		leaves += next.leaves(w)
		if !next.ranged(w) || w.delegates(next) || !need.fits(next) || need.Kind != NeedStorage && leaves > float64(w.cfg.RangeLeaves) {
			break
		}
		next.visited = true // it is empty
		need.items = append(need.items, heap.Pop(&w.queue).(*item))
	}
	return need.complete(w)
}

// fits says whether the next item can be fetched in the same request.
func (n *Need) fits(next *item) bool {
	if n.Kind == NeedStorage {
		return !next.account() && len(next.Path) == 0
	}
	last := n.items[len(n.items)-1]
	return next.Owner == last.Owner && len(next.Path) > 0 && last.precedes(next)
}

// complete fills in the refs and the range of a need.
func (n *Need) complete(w *Walker) *Need {
	for _, it := range n.items {
		n.Refs = append(n.Refs, it.NodeRef)
	}
	if n.Kind != NeedStorage {
		n.Origin, _ = KeyRange(n.items[0].Path)
		_, n.Limit = KeyRange(n.items[len(n.items)-1].Path)
		if n.Kind == NeedAccounts && w.cfg.Seed.Cmp(n.Origin) > 0 && w.cfg.Seed.Cmp(n.Limit) <= 0 {
			n.Origin = w.cfg.Seed // the rest comes last
		}
	}
	return n
}

// Found says that the nodes or codes of a need are in the local store now. Those that are not become
// needs again.
func (w *Walker) Found(n *Need) error {
	w.inFlight--
	for _, it := range n.items {
		heap.Push(&w.queue, it)
	}
	for _, hash := range n.Codes {
		has, err := w.cfg.Complete.HasCode(hash)
		if err != nil {
			return err
		}
		if !has {
			w.codes = append(w.codes, hash)
			continue
		}
		w.progress.Codes++
		w.cfg.Codes.add(hash)
		units := w.waiting[hash]
		delete(w.waiting, hash)
		for _, u := range units {
			if err := w.settle(u); err != nil {
				return err
			}
		}
	}
	return nil
}

// Give takes the nodes of a NeedNodes, by hash and verified. Missing ones become needs again.
func (w *Walker) Give(n *Need, nodes map[common.Hash][]byte) error {
	w.inFlight--
	for _, it := range n.items {
		if blob := nodes[it.Hash]; blob == nil {
			heap.Push(&w.queue, it)
		} else if err := w.open(it, blob, nil); err != nil {
			return err
		}
	}
	return nil
}

// Return takes a need back for which nothing was delivered.
func (w *Walker) Return(n *Need) {
	w.inFlight--
	for _, it := range n.items {
		heap.Push(&w.queue, it)
	}
	w.codes = append(w.codes, n.Codes...)
}

// Deliver takes the proved part of a need for a range. The rest becomes needs again; of a refused subtree its
// top node first.
func (w *Walker) Deliver(n *Need, d *Delivery) error {
	w.inFlight--
	for i, it := range n.items {
		if total := d.totals[i]; d.Pieces[i] == nil || total == 0 {
		} else if !it.account() {
			it.total = total
			if total > float64(w.cfg.RangeLeaves) {
				w.cfg.Writer.Large(it.Owner)
			}
			if len(it.Path) == 0 && total >= float64(largeTries*w.cfg.RangeLeaves) {
				w.division.large[it.Owner] = true
			}
		} else if w.total == 0 || d.Leaves >= minSample {
			w.total = total
		}
		if d.Pieces[i] == nil {
			it.split = it.split || d.refused != nil && d.refused[i]
			heap.Push(&w.queue, it)
		} else if err := w.apply(it, d.Pieces[i]); err != nil {
			return err
		}
	}
	return nil
}
