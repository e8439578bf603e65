package trie

import (
	"container/heap"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"
)

// Solid keeps trie nodes by owner and path, under one promise: a node is there only if
// everything under it is. The Walker makes it true, and is the only one that writes.
type Solid interface {
	// Node returns what is at the path, nil for nothing.
	Node(owner common.Hash, path []byte) ([]byte, error)
	// NextNode returns the path of the owner's first node at or after from, in the order in
	// which a node comes before those under it and they before the next sibling.
	NextNode(owner common.Hash, from []byte) (path []byte, ok bool, err error)
	// NextOwner returns the first account at or after from that has storage nodes.
	NextOwner(from common.Hash) (owner common.Hash, ok bool, err error)
	HasCode(hash common.Hash) (bool, error)
}

// SolidWriter changes Solid. What it is told takes effect in that order: at any moment the
// store holds the outcome of the first n changes, for some n, a crash included. Flush makes n all.
// Once a method has failed, all do.
type SolidWriter interface {
	Put(owner common.Hash, path, blob []byte) error
	Delete(owner common.Hash, path []byte) error
	// DeleteNodes deletes the owner's nodes from one path up to another, which is excluded.
	// Ends may have 16 as their last nibble, which is after all paths below that.
	DeleteNodes(owner common.Hash, from, to []byte) error
	// DeleteOwner deletes all storage nodes of an account.
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

// Need is something that the walker cannot find locally. It goes back to the walker once:
// by Found, Give, Deliver or Return.
type Need struct {
	Kind          NeedKind
	Wants         []Want // in the order of the walk; none for codes
	Codes         []common.Hash
	Origin, Limit common.Hash // of NeedAccounts and NeedSlots: keys, both included

	items []*item
}

// Delivery is what an answer proved of a need.
type Delivery struct {
	Pieces  []*Piece // for each want, or nil
	Leaves  int      // proved and new
	Refused int      // wants that were answered with nothing

	totals  []float64 // estimated leaves of the trie of each want; 0: unknown
	refused []bool    // by want; nil: none
}

// Match proves an answer. There is one list of leaves per want of NeedStorage, of which the last
// ones may be absent, and for the other ranges one list. proof is the proof of the ends of the last list; for
// NeedStorage, a list without one is a whole trie. NeedSubtrees is answered likewise; there an empty list refuses. The error is as that of [Leaves.Match].
func (n *Need) Match(keys [][]common.Hash, values [][][]byte, proof [][]byte) (*Delivery, error) {
	if n.Kind == NeedSubtrees {
		return n.matchSubtrees(keys, values, proof)
	}
	d := &Delivery{Pieces: make([]*Piece, len(n.Wants)), totals: make([]float64, len(n.Wants))}
	leaves := Leaves{Origin: n.Origin, Proof: proof}
	if n.Kind != NeedStorage && len(keys) > 0 {
		leaves.Keys, leaves.Values = keys[0], values[0]
		leaves.Whole = len(keys[0]) > 0 && len(proof) == 0 && n.Origin == (common.Hash{})
	}
	if n.Kind == NeedStorage && len(keys) > len(n.Wants) {
		return nil, &Lie{fmt.Sprintf("%d storage tries, %d were asked for", len(keys), len(n.Wants))}
	}
	for i, want := range n.Wants {
		if n.Kind == NeedStorage {
			if i == len(keys) {
				break
			}
			leaves = Leaves{Keys: keys[i], Values: values[i], Whole: true}
			if i == len(keys)-1 && len(proof) > 0 {
				leaves.Whole, leaves.Proof = false, proof
			}
		}
		piece, err := leaves.Match(want)
		if err != nil {
			return nil, err
		}
		d.Pieces[i], d.totals[i] = piece, leaves.total()
		d.Leaves += piece.leaves()
	}
	if len(leaves.Keys) > 0 && len(proof) == 0 && !slices.ContainsFunc(d.Pieces, func(p *Piece) bool { return p != nil }) {
		return nil, &Lie{fmt.Sprintf("%d leaves without a proof of where they end", len(leaves.Keys))}
	}
	return d, nil
}

func (p *Piece) leaves() int {
	if p == nil {
		return 0
	}
	n := p.Leaves
	for _, below := range p.Below {
		n += below.leaves()
	}
	return n
}

// Sizes of needs, chosen for answers of about half a megabyte: a server works 10 to 20 ms on one
// and an urgent request waits behind it.
const (
	rangeLeaves  = 7000 // leaves that a range request should bring, see WalkerConfig
	maxRuns      = 64   // wants in a range request
	maxTries     = 512  // storage tries in a request
	maxSubtrees  = 256  // subtrees in a request
	maxLookups   = 1024 // nodes in a request: what a server of GetNodeData gives
	maxCodes     = 96   // codes in a request: 6 kB each on average, 24 kB at most
	maxAside     = 64   // ranges that are passed over in the search for lookups
	maxSteps     = 2000 // items visited in one call
	maxKnownCode = 1 << 18
	telling      = 256 // leaves from which a density is estimated
)

// WalkerConfig is what a [Walker] works with.
type WalkerConfig struct {
	Root   common.Hash // of the state to complete
	Seed   common.Hash // the key at which the walk begins
	Solid  Solid
	Writer SolidWriter
	Local  Store // where nodes may be found before they are asked for: Hot

	RangeLeaves int // leaves that a range request should bring; 0: 7000
	MaxHeld     int // bytes of proved nodes that wait for what is under them; no account ranges are asked for above; 0: 256 MiB
}

// Walker completes one state in [Solid]. It is a pure machine: Next says what is needed,
// Deliver, Give, Found and Return take what came, and in between nodes are written, children first. It fetches nothing,
// starts nothing, and is not safe for concurrent use. After an error it is of no use; a new one
// goes on where the last one was, as does one with another root.
//
// The walk descends from the root. An [item] is a node that is wanted. If Solid has the
// wanted hash at its path, it is complete. Otherwise what is there is deleted, the node is
// found locally or needed from elsewhere, what the new version of it does not have is deleted, and its
// children become items. A [unit] holds nodes until all items under them are complete; then it
// is written. Where Solid has nothing, whole subtrees are needed as ranges of leaves.
//
// Items are taken in the order of their keys, from the seed upward and around, all storage of an account
// before its next sibling.
type Walker struct {
	cfg      WalkerConfig
	queue    itemQueue
	lookups  []*item                 // wait to become a NeedNodes
	codes    []common.Hash           // wait to become a NeedCodes
	waiting  map[common.Hash][]*unit // for codes
	known    map[common.Hash]bool    // codes that are held
	total    float64                 // estimated accounts; 0: unknown
	out      int                     // needs that have not come back
	held     int                     // bytes in units
	byNodes  bool
	division division
	done     bool
	progress WalkProgress
}

// WalkProgress counts what a walk did.
type WalkProgress struct {
	Share    float64 // of the account trie's key space that is complete, 0 to 1
	Kept     float64 // part of Share that was complete before
	Accounts uint64  // leaves that were delivered or met on changed paths
	Slots    uint64
	Codes    uint64 // that were fetched
	Nodes    uint64 // written
	Held     int    // bytes of nodes that wait for what is under them
	Queued   int    // items
	Out      int    // needs
}

// NewWalker makes a walker at the beginning of its walk.
func NewWalker(cfg WalkerConfig) *Walker {
	if cfg.RangeLeaves == 0 {
		cfg.RangeLeaves = rangeLeaves
	}
	if cfg.MaxHeld == 0 {
		cfg.MaxHeld = 256 << 20
	}
	w := &Walker{cfg: cfg, waiting: make(map[common.Hash][]*unit), known: make(map[common.Hash]bool), division: newDivision()}
	heap.Push(&w.queue, w.newItem(item{Want: Want{Hash: cfg.Root}}))
	return w
}

// ByNodes says whether nothing may be needed as a range: nobody serves ranges. It is slow.
func (w *Walker) ByNodes(on bool) {
	if w.byNodes && !on { // what waits to be asked for as a node may be part of a range now
		for _, it := range w.lookups {
			heap.Push(&w.queue, it)
		}
		w.lookups = nil
	}
	w.byNodes = on
}

// Done says whether the root is in Solid, durably as far as its writer is.
func (w *Walker) Done() bool { return w.done }

// Progress counts.
func (w *Walker) Progress() WalkProgress {
	p := w.progress
	p.Held, p.Queued, p.Out = w.held, w.queue.Len()+len(w.lookups), w.out
	p.Share = min(p.Share, 1)
	return p
}

// Next returns something that is needed, of the kinds that may be asked for now; nil if there is nothing. Then more says whether there
// is work left to do locally: call again soon.
func (w *Walker) Next(ranges, lookups bool) (need *Need, more bool, err error) {
	var aside []*item
	defer func() {
		for _, it := range aside {
			heap.Push(&w.queue, it)
		}
		if need != nil {
			w.out++
		}
	}()
	if lookups && len(w.codes) > 0 {
		n := min(len(w.codes), maxCodes)
		need = &Need{Kind: NeedCodes, Codes: w.codes[:n:n]}
		w.codes = w.codes[n:]
		return need, false, nil
	}
	for steps := 0; w.queue.Len() > 0 && len(aside) < maxAside && len(w.lookups) < maxLookups; steps++ {
		if steps == maxSteps {
			return nil, true, nil
		}
		it := heap.Pop(&w.queue).(*item)
		w.division.locate(it) // its trie may have turned out to be large
		missing, err := w.visit(it)
		if err != nil {
			return nil, false, err
		}
		switch {
		case !missing:
		case w.parks(it):
			w.park(it)
		case !it.ranged(w):
			w.lookups = append(w.lookups, it)
		case !ranges || it.account() && w.held > w.cfg.MaxHeld && w.out > 0:
			aside = append(aside, it)
		default:
			return w.rangeNeed(it), false, nil
		}
	}
	if lookups && len(w.lookups) > 0 {
		n := min(len(w.lookups), maxLookups)
		need = &Need{Kind: NeedNodes, items: w.lookups[:n:n]}
		w.lookups = w.lookups[n:]
		for _, it := range need.items {
			need.Wants = append(need.Wants, it.Want)
		}
		return need, false, nil
	}
	return nil, false, nil
}

// rangeNeed makes a need of an item and of the following ones that fit to it: small storage
// tries go many to a request, and of one trie, neighbours do.
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
		if !next.ranged(w) || w.parks(next) || !need.fits(next) || need.Kind != NeedStorage && leaves > float64(w.cfg.RangeLeaves) {
			break
		}
		next.visited = true // it is bare
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

// complete says what the items of a need are, for whoever fetches them.
func (n *Need) complete(w *Walker) *Need {
	for _, it := range n.items {
		n.Wants = append(n.Wants, it.Want)
	}
	if n.Kind != NeedStorage {
		n.Origin, _ = Span(n.items[0].Path)
		_, n.Limit = Span(n.items[len(n.items)-1].Path)
		if n.Kind == NeedAccounts && w.cfg.Seed.Cmp(n.Origin) > 0 && w.cfg.Seed.Cmp(n.Limit) <= 0 {
			n.Origin = w.cfg.Seed // the rest comes last
		}
	}
	return n
}

// Found tells that the nodes or codes of a need are in the local store now. What is not there
// is needed again.
func (w *Walker) Found(n *Need) error {
	w.out--
	for _, it := range n.items {
		heap.Push(&w.queue, it)
	}
	for _, hash := range n.Codes {
		has, err := w.cfg.Solid.HasCode(hash)
		if err != nil {
			return err
		}
		if !has {
			w.codes = append(w.codes, hash)
			continue
		}
		w.progress.Codes++
		w.knowCode(hash)
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

// Give takes nodes of a NeedNodes, by hash and verified; what did not come is needed again.
func (w *Walker) Give(n *Need, nodes map[common.Hash][]byte) error {
	w.out--
	for _, it := range n.items {
		if blob := nodes[it.Hash]; blob == nil {
			heap.Push(&w.queue, it)
		} else if err := w.open(it, blob, nil); err != nil {
			return err
		}
	}
	return nil
}

// Return gives a need back of which nothing came.
func (w *Walker) Return(n *Need) {
	w.out--
	for _, it := range n.items {
		heap.Push(&w.queue, it)
	}
	w.codes = append(w.codes, n.Codes...)
}

// Deliver takes what was proved of a need for a range; the rest is needed again, of
// what was refused first its node.
func (w *Walker) Deliver(n *Need, d *Delivery) error {
	w.out--
	for i, it := range n.items {
		if total := d.totals[i]; d.Pieces[i] == nil || total == 0 {
		} else if !it.account() {
			it.total = total
			if len(it.Path) == 0 && total >= float64(largeTries*w.cfg.RangeLeaves) {
				w.division.large[it.Owner] = true
			}
		} else if w.total == 0 || d.Leaves >= telling {
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
