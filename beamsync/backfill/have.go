package backfill

import (
	"context"
	"maps"
	"slices"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// Have is what a node tells others about the state that it collects (docs/wit.md). It is unverified: a reason to ask.
type Have struct {
	Number      uint64        // of the block whose state is collected; 0: none yet
	Root        common.Hash   // of that state
	Since       uint64        // since when, milliseconds of Unix time
	Active      bool          // not all is there yet
	Accounts    [32]byte      // complete slices, as [trie.Slices]
	Large       []common.Hash // accounts with large storage tries
	LargeSlices [][32]byte    // complete slices of these
}

func (h *Have) whole() map[common.Hash]trie.Slices {
	sets := map[common.Hash]trie.Slices{{}: h.Accounts}
	for i, account := range h.Large {
		sets[account] = h.LargeSlices[i]
	}
	return sets
}

// haveOf is what to tell when these slices are complete.
func haveOf(target Target, since uint64, whole map[common.Hash]trie.Slices) Have {
	have := Have{Number: target.Number, Root: target.Root, Since: since, Active: true, Accounts: whole[common.Hash{}]}
	for _, account := range slices.SortedFunc(maps.Keys(whole), common.Hash.Cmp) {
		if account != (common.Hash{}) && len(have.Large) < maxLargeTries {
			have.Large = append(have.Large, account)
			have.LargeSlices = append(have.LargeSlices, whole[account])
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

// FellowPeer is one connection to a node of our own kind. Calls are as those of [peer.Peer]. The p2p package
// implements it.
type FellowPeer interface {
	ID() string
	// ServesSubtrees says whether it knows such requests at all.
	ServesSubtrees() bool
	// Have is what it has told last.
	Have() Have
	// Subtrees returns the leaves of subtrees, none of those that it does not have. A proof follows if the last
	// list is cut.
	Subtrees(ctx context.Context, wants []trie.NodeRef, maxBytes uint64) (keys [][]common.Hash, values [][][]byte, proof [][]byte, err error)
	// ByteCodes returns codes; missing ones are left out.
	ByteCodes(ctx context.Context, hashes []common.Hash, maxBytes uint64) ([][]byte, error)
}
