// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"bytes"
	"context"
	"math/big"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/types/bal"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/beamsync/internal/beamtest"
)

func amsterdamConfig() *params.ChainConfig {
	config := *params.MergedTestChainConfig
	config.AmsterdamTime = new(uint64)
	return &config
}

// TestListsOfAncestors: a node that is behind asks for the lists of all blocks that it fetches at
// once, executes with them, and can serve them then.
func TestListsOfAncestors(t *testing.T) {
	n := newNetwork(t, amsterdamConfig(), 16)
	n.lists = func(block *types.Block) rlp.RawValue { return beamtest.Encoded(block.AccessList()) }
	n.hints = time.Second // the lists are quicker than what the blocks read
	inBubbleOn(t, n, 30, func(f *fixture) {
		f.want("first", f.payload(f.at(4), time.Minute), Valid)
		f.want("far ahead", f.payload(f.at(16), time.Minute), Valid)
		synctest.Wait()
		if len(n.listsAsked) != 1 || len(n.listsAsked[0]) != 11 {
			t.Errorf("%d requests, want one for the 11 blocks between", len(n.listsAsked))
		}
		for number := 4; number <= 16; number++ {
			if got, want := f.chain.AccessList(f.at(number).Hash()), beamtest.Encoded(f.at(number).AccessList()); !bytes.Equal(got, want) {
				t.Errorf("block %d has list %.20x, want %.20x", number, got, want)
			}
		}
	})
}

// unlistedPeers say at once that they have no list.
type unlistedPeers struct{ noPeers }

func (unlistedPeers) AccessLists(_ context.Context, headers []*types.Header) ([]rlp.RawValue, error) {
	return make([]rlp.RawValue, len(headers)), nil
}

// TestListRefusedAtOnce: a request for a list that no peer has ends, however soon that is known.
func TestListRefusedAtOnce(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	lists, done := newLists(unlistedPeers{}), make(chan struct{})
	go func() {
		defer close(done)
		lists.run(ctx)
	}()
	for number := range int64(100_000) {
		arrival := lists.of(&types.Header{Number: big.NewInt(number), BlockAccessListHash: new(common.Hash)})
		if arrival == nil {
			t.Fatalf("of list %d nothing is known", number)
		}
		<-arrival.done
	}
	cancel()
	<-done
}

// TestListIsCheckedBeforeUse: a payload without its list is executed with the one that a peer gives
// if that is what the header commits to, and without one in all other cases; the outcome is the same.
func TestListIsCheckedBeforeUse(t *testing.T) {
	for name, test := range map[string]struct {
		list func(block *types.Block) rlp.RawValue
		used bool
	}{
		"right":   {func(block *types.Block) rlp.RawValue { return beamtest.Encoded(block.AccessList()) }, true},
		"nothing": {func(*types.Block) rlp.RawValue { return nil }, false},
		"other":   {func(*types.Block) rlp.RawValue { return beamtest.Encoded(bal.BlockAccessList{}) }, false},
		"shorter": {func(block *types.Block) rlp.RawValue {
			list := *block.AccessList()
			return beamtest.Encoded(list[:len(list)-1])
		}, false},
		"garbage": {func(*types.Block) rlp.RawValue { return rlp.RawValue{0xc3, 1, 2, 3} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNetwork(t, amsterdamConfig(), 3)
			n.lists = test.list
			inBubbleOn(t, n, 30, func(f *fixture) {
				n.hints = time.Second // the list is quicker than what the block reads
				f.want("payload", f.payload(unlisted(f.at(3)), time.Hour), Valid)
				synctest.Wait()
				if used := len(f.chain.AccessList(f.at(3).Hash())) > 0; used != test.used {
					t.Errorf("executed with a list: %v", used)
				}
			})
		})
	}
}

// TestListIsNotWaitedFor: a list that does not come costs nothing.
func TestListIsNotWaitedFor(t *testing.T) {
	var took []time.Duration
	for _, config := range []*params.ChainConfig{amsterdamConfig(), params.MergedTestChainConfig} {
		inBubbleOn(t, newNetwork(t, config, 3), 30, func(f *fixture) { // its AccessLists never returns
			began := time.Now()
			f.want("payload", f.payload(unlisted(f.at(3)), time.Hour), Valid)
			took = append(took, time.Since(began))
			if config.AmsterdamTime != nil && len(f.listsAsked) != 1 {
				t.Errorf("asked %d times", len(f.listsAsked))
			}
		})
	}
	slices.Sort(took)
	if took[1] > took[0]+time.Second { // an Amsterdam block reads a bit more
		t.Errorf("took %v", took)
	}
}
