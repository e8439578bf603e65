// SPDX-License-Identifier: LGPL-3.0-or-later

package chain_test

import (
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/core/types"
)

// TestBadBlocks: the ten highest rejected blocks are kept, each once, without those that were executed later, and only
// while their bytes are few.
func TestBadBlocks(t *testing.T) {
	w := newTwoBranches()
	c, _ := open(t, w.genesis)
	for _, number := range []int64{3, 1, 2, 3, 9, 8, 7, 6, 5, 4, 12, 11} {
		c.RejectBlock(types.NewBlockWithHeader(&types.Header{Number: big.NewInt(number)}), errBad)
	}
	numbers := func() (list []uint64) {
		for _, block := range c.BadBlocks() {
			list = append(list, block.NumberU64())
		}
		return list
	}
	if got := numbers(); len(got) != 10 || got[0] != 12 || got[1] != 11 || got[2] != 9 || got[9] != 2 {
		t.Errorf("kept %d", got)
	}
	c.RejectBlock(w.main[3], errBad)
	if got := numbers(); got[8] != 4 || got[9] != 3 {
		t.Errorf("kept %d", got)
	}
	commit(t, c, w.main[:8], w.mainR[:8])
	for _, block := range c.BadBlocks() {
		if block.Hash() == w.main[3].Hash() {
			t.Error("a valid block is listed")
		}
	}
	large := types.NewBlockWithHeader(&types.Header{Number: big.NewInt(20), Extra: make([]byte, 33<<20)})
	c.RejectBlock(large, errBad)
	if got := numbers(); len(got) != 0 {
		t.Errorf("kept %d and a block of 33 MiB", got)
	}
}
