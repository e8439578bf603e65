// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus/misc/eip1559"
	"github.com/ethereum/go-ethereum/consensus/misc/eip4844"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
)

// inEachPhase runs a test on a beaming and on a full node that have all state locally, so that only blocks can be
// missing.
func inEachPhase(t *testing.T, length int, test func(t *testing.T, f *fixture)) {
	t.Helper()
	for _, phase := range []Phase{Beaming, FullNode} {
		t.Run(phase.String(), func(t *testing.T) {
			n := newNetwork(t, params.MergedTestChainConfig, length)
			inBubbleOn(t, n, 30, func(f *fixture) { test(t, f) }, func(cfg *Config) {
				cfg.Local = n.states
				if phase == FullNode {
					cfg.States = &newestStates{states: n.states, keep: 128, roots: []common.Hash{n.genesis.ToBlock().Root()}}
				}
			})
		})
	}
}

// TestPayloadsOutOfOrder: a block that waits for an ancestor from peers goes on when that comes as a payload.
func TestPayloadsOutOfOrder(t *testing.T) {
	orders := map[string][]int{
		"parent second":    {7, 6},
		"backward":         {10, 9, 8, 7, 6},
		"gap filled last":  {8, 9, 10, 6, 7},
		"two gaps":         {12, 9, 10, 7, 11, 8, 6},
		"repeated":         {7, 7, 8, 7, 6, 6},
		"far before near":  {25, 20, 24, 23, 22, 21, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6},
		"shuffled":         nil,
		"shuffled as well": nil,
	}
	for name, order := range orders {
		if order == nil {
			for _, at := range rand.New(rand.NewPCG(uint64(len(name)), 1)).Perm(20) {
				order = append(order, 6+at)
			}
		}
		t.Run(name, func(t *testing.T) {
			inEachPhase(t, 25, func(t *testing.T, f *fixture) {
				f.set(100*time.Millisecond, true) // no peer answers, from here on
				f.follow(1, 5)
				highest := 0
				for _, number := range order {
					f.payload(f.at(number), 10*time.Millisecond)
					highest = max(highest, number)
				}
				for number := 6; number <= highest; number++ {
					f.want(fmt.Sprintf("block %d again", number), f.payload(f.at(number), time.Second), Valid)
				}
				f.follow(highest, highest)
			})
		})
	}
}

// TestForkchoiceOutOfOrder: an unknown head that no peer has, and its parent, come as payloads after the forkchoice.
func TestForkchoiceOutOfOrder(t *testing.T) {
	inEachPhase(t, 12, func(t *testing.T, f *fixture) {
		f.set(100*time.Millisecond, true)
		f.follow(1, 3)
		for _, number := range []int{6, 8} {
			waiting := make(chan Outcome, 1)
			go func() {
				outcome, err := f.choose(f.at(number).Hash(), common.Hash{}, common.Hash{}, time.Minute)
				if err != nil {
					t.Error(err)
				}
				waiting <- outcome
			}()
			synctest.Wait()
			for at := number; at > number-3 && at > 3; at-- {
				f.payload(f.at(at), time.Millisecond)
			}
			f.want(fmt.Sprintf("forkchoice %d", number), <-waiting, Valid)
			f.head(f.at(number))
		}
	})
}

// TestFreshOutOfOrder: a fresh node goes on when the parent, whose header no peer sends, comes as a payload.
func TestFreshOutOfOrder(t *testing.T) {
	inEachPhase(t, 6, func(t *testing.T, f *fixture) {
		f.set(100*time.Millisecond, true)
		for number := 6; number > 0; number-- {
			f.payload(f.at(number), time.Millisecond)
		}
		for number := 1; number <= 6; number++ {
			f.want(fmt.Sprintf("block %d", number), f.payload(f.at(number), time.Second), Valid)
		}
	})
}

// orphan is a block whose parent no peer has.
func (f *fixture) orphan(rng *rand.Rand, number uint64) *types.Block {
	return f.orphanOn(f.at(1), rng, number)
}

// orphanOn makes one from another block.
func (f *fixture) orphanOn(block *types.Block, rng *rand.Rand, number uint64) *types.Block {
	header := types.CopyHeader(block.Header())
	header.Number = new(big.Int).SetUint64(number)
	for at := range header.ParentHash {
		header.ParentHash[at] = byte(rng.Uint32())
	}
	return types.NewBlockWithHeader(header).WithBody(*block.Body())
}

// childOf makes a block without transactions whose header follows that of its parent.
func (f *fixture) childOf(parent *types.Block) *types.Block {
	header := types.CopyHeader(parent.Header())
	header.ParentHash, header.Number, header.Time = parent.Hash(), new(big.Int).SetUint64(parent.NumberU64()+1), parent.Time()+12
	if parent.ExcessBlobGas() != nil {
		*header.ExcessBlobGas = eip4844.CalcExcessBlobGas(f.genesis.Config, parent.Header(), header.Time)
		*header.BlobGasUsed = 0
	}
	header.TxHash = types.EmptyTxsHash
	if header.GasLimit > 1 {
		header.BaseFee = eip1559.CalcBaseFee(f.genesis.Config, parent.Header())
	}
	return types.NewBlockWithHeader(header).WithBody(types.Body{Withdrawals: parent.Withdrawals()})
}

// TestOrphansDoNotBlock: however many payloads wait for ancestors that no peer has, blocks that can be imported are.
func TestOrphansDoNotBlock(t *testing.T) {
	for _, orphans := range []int{maxJobs - 1, maxJobs, 3 * maxJobs} {
		t.Run(fmt.Sprint(orphans), func(t *testing.T) {
			inEachPhase(t, 40, func(t *testing.T, f *fixture) {
				rng := rand.New(rand.NewPCG(uint64(orphans), 0))
				f.follow(1, 5)
				for at := range orphans {
					f.want("orphan", f.payload(f.orphan(rng, uint64(5+at*297/orphans)), time.Millisecond), Syncing)
				}
				f.follow(6, 8)
				f.want("gap", f.payload(f.at(12), 10*time.Second), Valid)
				status, err := f.choose(f.at(17).Hash(), common.Hash{}, common.Hash{}, 10*time.Second)
				if err != nil {
					t.Fatal(err)
				}
				f.want("unknown head", status, Valid)
				if status := f.importer.Status(); status.Lag != 0 {
					t.Errorf("%d blocks behind an orphan", status.Lag)
				}
				before := strings.Count(f.log.String(), "\n")
				time.Sleep(time.Minute)
				if lines := strings.Count(f.log.String(), "\n") - before; lines > 20 {
					t.Errorf("%d lines in a minute", lines)
				}
				time.Sleep(10 * time.Minute)
				if pending := f.importer.Status().Pending; len(pending) > 0 {
					t.Errorf("%d blocks still wait: %+v", len(pending), pending[0])
				}
				f.follow(18, 20)
			})
		})
	}
}

// TestOrphanHeadKept: the forkchoice head is not evicted, and becomes valid when its ancestors come.
func TestOrphanHeadKept(t *testing.T) {
	inEachPhase(t, 12, func(t *testing.T, f *fixture) {
		rng := rand.New(rand.NewPCG(7, 7))
		f.follow(1, 5)
		f.set(100*time.Millisecond, true)
		f.payload(f.at(8), time.Millisecond)
		if _, err := f.choose(f.at(8).Hash(), common.Hash{}, common.Hash{}, time.Millisecond); err != nil {
			t.Fatal(err)
		}
		for at := range 2 * maxJobs {
			f.payload(f.orphan(rng, uint64(6+at)), time.Millisecond)
		}
		time.Sleep(20 * time.Minute)
		f.payload(f.at(7), time.Millisecond)
		f.payload(f.at(6), time.Second)
		time.Sleep(time.Second)
		f.head(f.at(8))
	})
}

// TestMissingBodiesDoNotBlock: a chain of which peers have the headers only does not delay others, whether its bodies are
// missing from its first block on or much later; and its blocks can come as payloads.
func TestMissingBodiesDoNotBlock(t *testing.T) {
	inEachPhase(t, 2*catchUpBlocks, func(t *testing.T, f *fixture) {
		f.bare = []common.Hash{f.side[0].Hash(), f.at(catchUpBlocks + 8).Hash()}
		f.follow(1, 1)
		f.want("side chain", f.payload(f.side[2], time.Second), Syncing)
		far := f.at(2 * catchUpBlocks)
		if f.importer.Phase() == Beaming {
			far = f.at(30) // beyond that, it pivots
			f.mu.Lock()
			f.bare[1] = f.at(28).Hash()
			f.mu.Unlock()
		}
		f.want("long gap", f.payload(far, time.Second), Syncing)
		f.want("gap", f.payload(f.at(22), time.Minute), Valid)
		f.follow(23, 24)
		f.want("missing block", f.payload(f.side[0], time.Minute), Valid)
		f.want("side chain", f.payload(f.side[2], time.Minute), Valid)
		for number := 25; number <= catchUpBlocks+8; number++ {
			f.want("next", f.payload(f.at(number), time.Minute), Valid)
		}
		f.want("long gap", f.payload(far, time.Minute), Valid)
	})
}

// TestUnavailableStatesDoNotBlock: executions that wait for states that no peer has do not delay the forkchoice head.
func TestUnavailableStatesDoNotBlock(t *testing.T) {
	inImporterBubble(t, 60, 10, func(f *fixture) {
		f.follow(50, 50)
		for number := 48; number > 48-2*maxExecutions; number -= 2 {
			f.mu.Lock()
			f.gone = append(f.gone, f.at(number-1).Root())
			f.mu.Unlock()
			f.want("block without state", f.payload(f.at(number), time.Minute), Syncing)
		}
		if pending := f.importer.Status().Pending; len(pending) != maxExecutions {
			t.Fatalf("blocks being imported: %+v", pending)
		}
		f.follow(51, 53)
	})
}
