// SPDX-License-Identifier: LGPL-3.0-or-later

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

// Status is the state of one block in the tree.
type Status int

const (
	// Unknown blocks are not stored, or only their header is.
	Unknown Status = iota
	// Known blocks are stored with header and body, and were not executed.
	Known
	// Executed blocks were executed on their parent's state and are valid. Durable.
	Executed
	// Rejected blocks break a consensus rule. In memory, bounded, forgotten on restart.
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
	maxInvalidBlocks = 512 // blocks in the cache: rejected ones and their descendants
	maxInvalidHits   = 128 // lookups of a cached block before it is validated again
)

// ErrRejectedAncestor is wrapped by the reason of a block that descends from a rejected one.
var ErrRejectedAncestor = errors.New("links to previously rejected block")

// invalidAncestor is a rejected block. It is the cache entry of the block and of its descendants.
type invalidAncestor struct {
	hash   common.Hash
	parent common.Hash // its newest valid ancestor may become known later, see LatestValid
	reason error
	hits   int
}

// invalidBlocks is the invalid-block cache. Its zero value is ready to use.
type invalidBlocks struct {
	mu     sync.Mutex
	blocks lru.BasicLRU[common.Hash, *invalidAncestor] // rejected blocks and their descendants seen so far; the newest ones of an invalid chain stay
	used   atomic.Bool
}

func (r *invalidBlocks) add(hash common.Hash, entry *invalidAncestor) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.used.CompareAndSwap(false, true) {
		r.blocks = lru.NewBasicLRU[common.Hash, *invalidAncestor](maxInvalidBlocks)
	}
	r.blocks.Add(hash, entry)
}

func (r *invalidBlocks) get(hash common.Hash) *invalidAncestor {
	if r.empty() {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	entry, _ := r.blocks.Get(hash)
	return entry
}

// empty says whether no block was ever rejected, which is the normal case.
func (r *invalidBlocks) empty() bool { return !r.used.Load() }

// forget deletes the entries of a block and of its descendants.
func (r *invalidBlocks) forget(hash common.Hash) {
	if r.empty() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, key := range r.blocks.Keys() {
		if entry, _ := r.blocks.Peek(key); key == hash || entry.hash == hash {
			r.blocks.Remove(key)
		}
	}
}

// countHit counts a lookup and says whether the entry is still valid: it expires after maxInvalidHits lookups, so
// that a wrong entry cannot block the node for ever. If it is lasting, lookups of descendants do not count, and
// descendants stay in the cache until the rejected block has been validated again.
func (r *invalidBlocks) countHit(asked common.Hash, entry *invalidAncestor, lasting bool) bool {
	itself := asked == entry.hash
	r.mu.Lock()
	if itself || !lasting {
		entry.hits++
	}
	valid := entry.hits < maxInvalidHits
	switch {
	case valid && !itself:
		r.blocks.Add(asked, entry)
	case !valid && lasting:
		entry.hits = 0
		r.blocks.Remove(entry.hash)
	}
	r.mu.Unlock()
	if !valid && !lasting {
		r.forget(entry.hash)
	}
	return valid
}

// Status returns the state of a block. A descendant of a rejected block is Known or
// Unknown here; see [Chain.Rejection].
func (c *Chain) Status(hash common.Hash) Status {
	if entry := c.invalid.get(hash); entry != nil && entry.hash == hash {
		return Rejected
	}
	number, ok := c.store.Number(hash)
	if !ok {
		return Unknown
	}
	switch parts := c.store.Parts(hash, number); {
	case c.Header(hash) == nil, c.damaged.part(hash) == DamagedBody: // lost: the block is fetched again
		return Unknown
	case parts.Has(IsExecuted | HasBody):
		return Executed
	case parts.Has(HasBody):
		return Known
	}
	return Unknown
}

// Reject records that a block with this header breaks a consensus rule. It does nothing for an executed block.
func (c *Chain) Reject(header *types.Header, reason error) {
	hash := header.Hash()
	if c.Status(hash) == Executed {
		return
	}
	c.invalid.add(hash, &invalidAncestor{hash: hash, parent: header.ParentHash, reason: reason})
}

// RejectChild records a block, which need not be stored, as invalid if its parent was rejected or is
// recorded as a descendant of a rejected block.
func (c *Chain) RejectChild(hash, parent common.Hash) {
	if entry := c.invalid.get(parent); entry != nil {
		c.invalid.add(hash, entry)
	}
}

// Rejection returns why a block is invalid: it was rejected, or it descends from a rejected block
// through stored headers. err is nil if neither is known. For a payload that is not stored, look up its
// parent and call [Chain.RejectChild]. latestValid is the Engine API's latestValidHash, see
// [Chain.LatestValid].
func (c *Chain) Rejection(hash common.Hash) (latestValid *common.Hash, err error) {
	return c.invalidReason(hash, false)
}

// Rejects says whether a block was rejected or is recorded as a descendant of a rejected block. Unlike Rejection
// it does not look at the ancestors, which is enough for a caller that walks the blocks anyway.
func (c *Chain) Rejects(hash common.Hash) bool { return c.invalid.get(hash) != nil }

// LastingRejection is Rejection for a node that would not validate the rejected block again when it gets a descendant,
// but start above it: descendants stay invalid until the rejected block itself is validated again.
func (c *Chain) LastingRejection(hash common.Hash) (latestValid *common.Hash, err error) {
	return c.invalidReason(hash, true)
}

func (c *Chain) invalidReason(hash common.Hash, lasting bool) (latestValid *common.Hash, err error) {
	if c.invalid.empty() {
		return nil, nil
	}
	at := hash
	for range maxInvalidBlocks {
		if entry := c.invalid.get(at); entry != nil {
			if !c.invalid.countHit(hash, entry, lasting) {
				return nil, nil
			}
			if hash == entry.hash {
				return c.LatestValid(entry.parent), entry.reason
			}
			return c.LatestValid(entry.parent), fmt.Errorf("%w %s: %w", ErrRejectedAncestor, entry.hash.Hex(), entry.reason)
		}
		header := c.Header(at)
		if header == nil || c.Status(at) == Executed {
			return nil, nil
		}
		at = header.ParentHash
	}
	return nil, nil
}

// LatestValid returns the Engine API's latestValidHash for an invalid block with this parent: the parent if
// it was executed, or the zero hash if that is a proof-of-work block; the latestValidHash of the parent if
// the parent is invalid itself. Otherwise it is nil. The consensus client takes all blocks between that
// hash and the invalid block as invalid (execution-apis, paris.md), so an unknown parent ends the search:
// it may be valid, as most blocks that a pivot skipped are.
func (c *Chain) LatestValid(parent common.Hash) *common.Hash {
	for entry := c.invalid.get(parent); entry != nil; entry = c.invalid.get(parent) {
		parent = entry.parent
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
