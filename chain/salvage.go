// SPDX-License-Identifier: LGPL-3.0-or-later

package chain

import (
	"encoding/json"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	gethtrie "github.com/ethereum/go-ethereum/trie"
)

// maxSalvaged is how far below the last head a head is looked for: the states that a full node has.
const maxSalvaged = 128

// maxStaleIndex is how many entries of the index above a salvaged head are removed. More would do no harm: above the head
// the index is undefined.
const maxStaleIndex = 1024

// Salvage opens the chain of a store that lost some of its content, where any value may be gone or be an older one. Of
// the heads that are given, newest first, that of the store, and the canonical blocks below it, the first one becomes the head that was
// executed and is there as a whole, by hash; if there is none, genesis does. Nothing else is believed: tail and oldest block
// are at the head, and the chain behind it is collected again, which finds by hash what the store still has. A store of
// another network is refused with a [GenesisMismatchError].
func Salvage(store Store, genesis *core.Genesis, heads ...common.Hash) (*Chain, error) {
	c, err := newChain(store, genesis)
	if err != nil {
		return nil, err
	}
	if stored := store.CanonicalHash(0); stored != (common.Hash{}) && stored != c.genesis.Hash() {
		return nil, &GenesisMismatchError{Stored: stored, New: c.genesis.Hash()}
	}
	alloc, err := json.Marshal(genesis.Alloc)
	if err != nil {
		return nil, fmt.Errorf("encode genesis state: %w", err)
	}
	c.cache(c.genesis)
	old := store.Markers()
	head := c.genesis
	for _, hash := range append(append(heads, old.Head), canonicalBelow(store, old.Head)...) {
		if block := c.whole(hash); block != nil {
			head = block
			break
		}
	}
	number := head.NumberU64()
	markers := Markers{Head: head.Hash(), Tail: number, Oldest: number}
	for _, mark := range []struct{ from, to *common.Hash }{{&old.Safe, &markers.Safe}, {&old.Finalized, &markers.Finalized}} {
		if header := c.Header(*mark.from); header != nil && header.Hash() == *mark.from && header.Number.Uint64() <= number {
			*mark.to = *mark.from
		}
	}
	update := &Update{
		Genesis:   &GenesisRecord{Hash: c.genesis.Hash(), Config: c.config, Alloc: alloc},
		Blocks:    []*types.Block{c.genesis},
		Executed:  []Execution{{Block: c.genesis, Receipts: types.Receipts{}}},
		Canonical: map[uint64]common.Hash{0: c.genesis.Hash(), number: head.Hash()},
		Markers:   &markers,
		Segments:  new([]Segment),
	}
	for above := number + 1; above <= number+maxStaleIndex && store.CanonicalHash(above) != (common.Hash{}); above++ {
		update.Canonical[above] = common.Hash{}
	}
	if txs := head.Transactions(); len(txs) > 0 {
		update.Index = []Transactions{{Number: number, Hashes: hashesOf(txs)}}
	}
	if err := store.Apply(update); err != nil {
		return nil, fmt.Errorf("salvage the chain: %w", err)
	}
	c.snapshot.Store(&snapshot{Markers: markers, head: head.Header()})
	return c, nil
}

// canonicalBelow returns the canonical hashes below a block that the index has, newest first.
func canonicalBelow(store Store, head common.Hash) (hashes []common.Hash) {
	number, _ := store.Number(head)
	for n := uint64(1); n <= min(number, maxSalvaged); n++ {
		hashes = append(hashes, store.CanonicalHash(number-n))
	}
	return hashes
}

// whole returns an executed block if all of it is stored and matches the hashes in its header, else nil.
func (c *Chain) whole(hash common.Hash) *types.Block {
	header := c.Header(hash)
	if header == nil || header.Hash() != hash || c.Status(hash) != Executed {
		return nil
	}
	block := c.Block(hash)
	if block == nil || verifyCommitments(block) != nil {
		return nil
	}
	receipts := c.Receipts(hash)
	if receipts == nil || types.DeriveSha(receipts, gethtrie.NewStackTrie(nil)) != header.ReceiptHash {
		return nil
	}
	return block
}
