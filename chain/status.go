package chain

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"
	"github.com/ethereum/go-ethereum/core/types"
)

// Status is what is known about one block.
type Status int

const (
	// Unknown blocks are not held, or known by its header only.
	Unknown Status = iota
	// Known blocks have header and body held; nothing is said about their worth.
	Known
	// Executed blocks were run on their parent's state and are good. Durable.
	Executed
	// Rejected blocks break a rule of consensus. In memory, bounded, forgotten on restart.
	Rejected
)

// String returns the status as logs spell it.
func (s Status) String() string {
	switch s {
	case Unknown:
		return "unknown"
	case Known:
		return "known"
	case Executed:
		return "executed"
	case Rejected:
		return "rejected"
	}
	return fmt.Sprintf("status(%d)", int(s))
}

// Both bounds are go-ethereum's (eth/catalyst: invalidTipsetsCap, invalidBlockHitEviction).
const (
	maxRejections    = 512 // blocks remembered as rejected or as descending from one
	maxRejectionHits = 128 // answers given from memory before the block is judged anew
)

// ErrRejectedAncestor is wrapped by the reason of a block that descends from a rejected one.
var ErrRejectedAncestor = errors.New("links to previously rejected block")

// rejection is the verdict on one block and, by way of it, on its descendants.
type rejection struct {
	bad         common.Hash
	latestValid *common.Hash
	reason      error
	hits        int
}

// rejections remembers bad blocks. Its zero value is ready to use.
type rejections struct {
	mu     sync.Mutex
	blocks lru.BasicLRU[common.Hash, *rejection] // bad blocks and their descendants seen so far; the newest of a bad chain stay
	used   atomic.Bool
}

func (r *rejections) add(hash common.Hash, verdict *rejection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.used.CompareAndSwap(false, true) {
		r.blocks = lru.NewBasicLRU[common.Hash, *rejection](maxRejections)
	}
	r.blocks.Add(hash, verdict)
}

func (r *rejections) get(hash common.Hash) *rejection {
	if r.empty() {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	verdict, _ := r.blocks.Get(hash)
	return verdict
}

// empty says whether nothing has been rejected ever, as is the rule.
func (r *rejections) empty() bool { return !r.used.Load() }

// forget drops the verdict on a block together with all that descends from it.
func (r *rejections) forget(hash common.Hash) {
	if r.empty() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, key := range r.blocks.Keys() {
		if verdict, _ := r.blocks.Peek(key); key == hash || verdict.bad == hash {
			r.blocks.Remove(key)
		}
	}
}

// hit counts an answer given from memory and says whether the verdict still stands: after
// maxRejectionHits answers it is dropped, so that a wrong one cannot hold a node for ever. If it is lasting, answers about
// descendants do not count, and they stay what they are until the bad block has been judged anew.
func (r *rejections) hit(asked common.Hash, verdict *rejection, lasting bool) bool {
	itself := asked == verdict.bad
	r.mu.Lock()
	if itself || !lasting {
		verdict.hits++
	}
	stands := verdict.hits < maxRejectionHits
	switch {
	case stands && !itself:
		r.blocks.Add(asked, verdict)
	case !stands && lasting:
		verdict.hits = 0
		r.blocks.Remove(verdict.bad)
	}
	r.mu.Unlock()
	if !stands && !lasting {
		r.forget(verdict.bad)
	}
	return stands
}

// Status says what is known about a block. A descendant of a rejected block is Known or
// Unknown here; [Chain.Rejection] tells.
func (c *Chain) Status(hash common.Hash) Status {
	if verdict := c.rejections.get(hash); verdict != nil && verdict.bad == hash {
		return Rejected
	}
	number, ok := c.store.Number(hash)
	if !ok {
		return Unknown
	}
	switch parts := c.store.Holds(hash, number); {
	case parts.Has(IsExecuted | HasBody):
		return Executed
	case parts.Has(HasBody):
		return Known
	}
	return Unknown
}

// Reject remembers that a block breaks a rule of consensus. An executed block cannot be
// rejected; the call is without effect then.
func (c *Chain) Reject(block *types.Block, reason error) {
	if c.Status(block.Hash()) == Executed {
		return
	}
	latest := c.LatestValid(block.ParentHash())
	c.rejections.add(block.Hash(), &rejection{bad: block.Hash(), latestValid: latest, reason: reason})
}

// RejectChild remembers that a block which may not be held has this parent. It is without
// effect unless the parent was rejected or is known to descend from a rejected block.
func (c *Chain) RejectChild(hash, parent common.Hash) {
	if verdict := c.rejections.get(parent); verdict != nil {
		c.rejections.add(hash, verdict)
	}
}

// Rejection says why a block is bad: because it was rejected, or because it descends from
// a rejected block through headers that are held. err is nil if neither is known. For a
// payload that is not held, ask for its parent, and call [Chain.RejectChild]. latestValid is the Engine API's
// latestValidHash, see [Chain.LatestValid].
func (c *Chain) Rejection(hash common.Hash) (latestValid *common.Hash, err error) {
	return c.rejection(hash, false)
}

// Rejects says whether a block was rejected, or is remembered to descend from one that was. Other than Rejection it does not look at
// its ancestors: whoever goes from block to block anyway asks this first.
func (c *Chain) Rejects(hash common.Hash) bool { return c.rejections.get(hash) != nil }

// LastingRejection is Rejection for a node that would not judge the bad block anew if it were asked about a descendant, but
// begin above it: so what descends from a bad block stays bad.
func (c *Chain) LastingRejection(hash common.Hash) (latestValid *common.Hash, err error) {
	return c.rejection(hash, true)
}

func (c *Chain) rejection(hash common.Hash, lasting bool) (latestValid *common.Hash, err error) {
	if c.rejections.empty() {
		return nil, nil
	}
	at := hash
	for range maxRejections {
		if verdict := c.rejections.get(at); verdict != nil {
			if !c.rejections.hit(hash, verdict, lasting) {
				return nil, nil
			}
			if hash == verdict.bad {
				return verdict.latestValid, verdict.reason
			}
			return verdict.latestValid, fmt.Errorf("%w %s: %w", ErrRejectedAncestor, verdict.bad.Hex(), verdict.reason)
		}
		header := c.Header(at)
		if header == nil || c.Status(at) == Executed {
			return nil, nil
		}
		at = header.ParentHash
	}
	return nil, nil
}

// LatestValid is the Engine API's latestValidHash for a bad block with this parent: the parent if
// it was executed, or the zero hash if that is a proof-of-work block; what was said of the parent if
// that is bad itself. Otherwise it is nil. The caller takes all between that block and the bad one
// for bad (execution-apis, paris.md), so a parent of which nothing is known ends the search: it may
// be good, as most blocks are that a pivot left out.
func (c *Chain) LatestValid(parent common.Hash) *common.Hash {
	if verdict := c.rejections.get(parent); verdict != nil {
		return verdict.latestValid
	}
	header := c.Header(parent)
	switch {
	case header == nil || c.Status(parent) != Executed:
		return nil
	case header.Difficulty.Sign() != 0:
		return new(common.Hash)
	}
	return &parent
}
