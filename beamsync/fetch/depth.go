// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch

import (
	"bytes"
	"math"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"

	"github.com/sunbeam-eth/sunbeam/trie"
)

const (
	// The assumed depth of paths before any was seen: mainnet's account trie is 8-11
	// deep. A prefix too many is one cheap lookup for the server and an empty entry, one too
	// few is a round trip.
	firstAccountDepth = 11
	firstStorageDepth = 9

	// firstStorageKeyDepth is how deep storage is asked for together with its account. It reaches the
	// leaves of tries of 16^7 slots; the few larger ones go on in the trip after, which the
	// code needs anyway. At 6 more did, and took a trip more.
	firstStorageKeyDepth = 8

	maxKnownTries = 4096 // storage tries whose depth is known
)

// depthGuess learns how deep paths go, so that a request names all of a path and little
// more. Not for concurrent use.
type depthGuess struct {
	account float64                            // of the account trie, a peak that sinks slowly
	storage float64                            // of storage tries not seen before
	owners  lru.BasicLRU[common.Hash, float64] // of those seen
}

func newDepthGuess() *depthGuess {
	return &depthGuess{
		account: firstAccountDepth,
		storage: firstStorageDepth,
		owners:  lru.NewBasicLRU[common.Hash, float64](maxKnownTries),
	}
}

// deepest is the length of the longest path to ask for, in nibbles. It is that of the
// fault itself if its key is not known or leads elsewhere.
func (g *depthGuess) deepest(f trie.Fault) int {
	if !bytes.HasPrefix(f.Key, f.Path) {
		return len(f.Path)
	}
	guess := g.account + 1
	if f.Owner != (common.Hash{}) {
		guess = g.storage + 1
		if seen, ok := g.owners.Get(f.Owner); ok {
			guess = seen + 4 // another key of the trie may well go deeper
		}
	}
	// Deeper than thought already: some levels more, then.
	return min(max(int(math.Ceil(guess)), len(f.Path)+4), len(f.Key))
}

// storageKeys is the length of the longest path to ask for of storage whose root is not known.
func (g *depthGuess) storageKeys(owner common.Hash) int {
	if seen, ok := g.owners.Get(owner); ok {
		return int(seen) + 1
	}
	return firstStorageKeyDepth
}

// observe learns from a path that was delivered.
func (g *depthGuess) observe(d delivery) {
	if d.depth == 0 {
		return
	}
	depth := float64(d.depth)
	if d.owner == (common.Hash{}) {
		g.account = decay(g.account, depth)
		return
	}
	g.storage = decay(g.storage, depth)
	seen, ok := g.owners.Get(d.owner)
	if !ok {
		seen = depth
	}
	g.owners.Add(d.owner, max(seen, depth))
}

// decay raises a peak at once and lowers it by a thirty-second of the way.
func decay(peak, depth float64) float64 {
	return max(depth, peak-(peak-depth)/32)
}
