// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// Validity is what is known of a block.
type Validity int

const (
	// Syncing: not decided. The import goes on, or state or ancestors are unavailable.
	Syncing Validity = iota
	// Valid: executed, committed, and descends from valid blocks.
	Valid
	// Invalid: the block or an ancestor breaks a consensus rule.
	Invalid
)

// String returns the status as the Engine API spells it.
func (v Validity) String() string {
	switch v {
	case Syncing:
		return "SYNCING"
	case Valid:
		return "VALID"
	case Invalid:
		return "INVALID"
	}
	return fmt.Sprintf("validity(%d)", int(v))
}

// Outcome is the result of an import. It is decided in one place, and travels from there to everyone who waits for
// the block: callers of the Engine API and the jobs of its children. The zero value is Syncing without a reason.
type Outcome struct {
	Status Validity
	// LatestValid is the Engine API's latestValidHash: the block itself if Valid, its newest valid ancestor if
	// Invalid and that is known.
	LatestValid *common.Hash
	// Reason is why the block is Invalid, or why the import ended Syncing; nil if the import goes on.
	Reason error
}

func valid(hash common.Hash) Outcome { return Outcome{Status: Valid, LatestValid: &hash} }

// invalid takes a nil latest if the newest valid ancestor is unknown.
func invalid(latest *common.Hash, reason error) Outcome {
	return Outcome{Status: Invalid, LatestValid: latest, Reason: reason}
}

func syncing(reason error) Outcome { return Outcome{Reason: reason} }

// final says whether the block is Valid or Invalid.
func (o Outcome) final() bool { return o.Status != Syncing }

// ended says whether the import ends with this outcome. Otherwise it goes on.
func (o Outcome) ended() bool { return o.final() || o.Reason != nil }

// err returns nil for a valid block, and the reason of any other outcome.
func (o Outcome) err() error {
	if o.Status == Valid {
		return nil
	}
	return o.Reason
}

// known returns the outcome of a block that needs no import: it was executed, it was rejected, or it descends from a
// rejected block. The parent is for blocks whose header is not stored; it may be zero.
func (i *Importer) known(hash, parent common.Hash) Outcome {
	if i.cfg.Chain.Status(hash) == chain.Executed {
		return valid(hash)
	}
	rejection := i.cfg.Chain.Rejection
	if i.Phase() == Beaming { // it could start to beam above the invalid block
		rejection = i.cfg.Chain.LastingRejection
	}
	for _, bad := range []common.Hash{hash, parent} {
		if latest, err := rejection(bad); err != nil {
			if bad != hash {
				i.cfg.Chain.RejectChild(hash, bad) // its children may come next
			}
			return invalid(latest, err)
		}
	}
	return syncing(nil)
}

// inherit turns the outcome of a block's parent into that of the block. A valid parent leaves it undecided, without a
// reason. An undecided parent leaves it undecided too, and so does one with a mismatched body: its hash may be valid.
func (i *Importer) inherit(block *types.Block, parent Outcome) Outcome {
	switch {
	case parent.Status == Valid:
		return syncing(nil)
	case parent.Status == Syncing, errors.Is(parent.Reason, chain.ErrBodyMismatch):
		return syncing(fmt.Errorf("parent %x: no outcome: %w", block.ParentHash(), trie.ErrUnavailable))
	}
	i.cfg.Chain.RejectChild(block.Hash(), block.ParentHash())
	return ofDescendant(block.ParentHash(), parent)
}

// ofDescendant turns the outcome of an invalid block into that of its descendants.
func ofDescendant(hash common.Hash, ancestor Outcome) Outcome {
	if !errors.Is(ancestor.Reason, chain.ErrRejectedAncestor) {
		ancestor.Reason = fmt.Errorf("%w %s: %w", chain.ErrRejectedAncestor, hash.Hex(), ancestor.Reason)
	}
	return ancestor
}
