// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill

import (
	"context"
	"encoding/binary"
	"maps"
	"math/bits"
	"slices"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// Have is what a node announces about the state that it collects (docs/wit.md). It is unverified: a hint whom to ask.
type Have struct {
	Number      uint64        // of the block whose state is collected; 0: none yet
	Root        common.Hash   // of that state
	Since       uint64        // since when the node collects, in milliseconds of Unix time
	Active      bool          // the state is not complete yet
	Accounts    [32]byte      // complete slices, as [trie.Slices]
	Large       []common.Hash // accounts with large storage tries
	LargeSlices [][32]byte    // complete slices of these
}

// complete returns the complete slices by owner.
func (h *Have) complete() map[common.Hash]trie.Slices {
	sets := map[common.Hash]trie.Slices{{}: h.Accounts}
	for i, account := range h.Large {
		sets[account] = h.LargeSlices[i]
	}
	return sets
}

// newHave is what to announce when these slices are complete.
func newHave(target Target, since uint64, complete map[common.Hash]trie.Slices) Have {
	have := Have{Number: target.Number, Root: target.Root, Since: since, Active: true, Accounts: complete[common.Hash{}]}
	for _, account := range slices.SortedFunc(maps.Keys(complete), common.Hash.Cmp) {
		if account != (common.Hash{}) && len(have.Large) < maxLargeTries {
			have.Large = append(have.Large, account)
			have.LargeSlices = append(have.LargeSlices, complete[account])
		}
	}
	return have
}

func allSlices() (all trie.Slices) {
	for i := range all {
		all[i] = 0xff
	}
	return all
}

// partsIn counts the parts of sets.
func partsIn(sets map[common.Hash]trie.Slices) (n int) {
	for _, set := range sets {
		for i := 0; i < len(set); i += 8 {
			n += bits.OnesCount64(binary.BigEndian.Uint64(set[i:]))
		}
	}
	return n
}

// SwarmPeer is one connection to another Sunbeam node. Calls are as those of [peer.Peer]. The p2p package
// implements it.
type SwarmPeer interface {
	ID() string
	// ServesSubtrees says whether the peer knows such requests at all.
	ServesSubtrees() bool
	// Have is what the peer announced last.
	Have() Have
	// Subtrees returns the leaves of subtrees, none of those that the peer does not have. A proof follows if the last
	// list is cut.
	Subtrees(ctx context.Context, wants []trie.NodeRef, maxBytes uint64) (keys [][]common.Hash, values [][][]byte, proof [][]byte, err error)
	// ByteCodes returns codes; missing ones are left out.
	ByteCodes(ctx context.Context, hashes []common.Hash, maxBytes uint64) ([][]byte, error)
}
