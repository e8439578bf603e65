// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"crypto/ecdsa"
	"fmt"
	"math/big"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	gethtrie "github.com/ethereum/go-ethereum/trie"

	"github.com/sunbeam-eth/sunbeam/chain"
)

// defect is something wrong with a block that shows without state.
type defect struct {
	name  string
	alone bool // it counts before the parent is known
	make  func(good *types.Block, parent *types.Header) *types.Block
}

func defects() []defect {
	header := func(name string, alone bool, spoil func(header, parent *types.Header)) defect {
		return defect{name, alone, func(good *types.Block, parent *types.Header) *types.Block {
			spoiled := types.CopyHeader(good.Header())
			spoil(spoiled, parent)
			return types.NewBlockWithHeader(spoiled).WithBody(*good.Body())
		}}
	}
	number := func(name string, by int64) defect {
		return header(name, false, func(header, _ *types.Header) { header.Number.Add(header.Number, big.NewInt(by)) })
	}
	transaction := func(name string, sign func(good *types.Block) *types.Transaction) defect {
		return defect{name, false, func(good *types.Block, _ *types.Header) *types.Block {
			txs := types.Transactions{sign(good)}
			header := types.CopyHeader(good.Header())
			header.TxHash = types.DeriveSha(txs, gethtrie.NewStackTrie(nil))
			return types.NewBlockWithHeader(header).WithBody(types.Body{Transactions: txs, Withdrawals: good.Withdrawals()})
		}}
	}
	return []defect{
		number("number above", 1), number("number far above", 1000), number("number far below", -9), number("number of the parent", -1),
		header("number 0", true, func(header, _ *types.Header) { header.Number.SetUint64(0) }),
		header("number 2^63", false, func(header, _ *types.Header) { header.Number.SetUint64(1 << 63) }),
		header("time of the parent", false, func(header, parent *types.Header) { header.Time = parent.Time }),
		header("time before the parent", false, func(header, parent *types.Header) { header.Time = parent.Time - 1 }),
		header("gas limit too high", false, func(header, parent *types.Header) { header.GasLimit = parent.GasLimit + parent.GasLimit/1024 }),
		header("gas limit too low", false, func(header, parent *types.Header) { header.GasLimit = parent.GasLimit - parent.GasLimit/1024 }),
		header("gas limit beyond all", true, func(header, _ *types.Header) { header.GasLimit = params.MaxGasLimit + 1 }),
		header("gas limit 0", true, func(header, _ *types.Header) { header.GasLimit = 0 }),
		header("gas used above limit", true, func(header, _ *types.Header) { header.GasUsed = header.GasLimit + 1 }),
		header("base fee", false, func(header, _ *types.Header) { header.BaseFee.Sub(header.BaseFee, big.NewInt(1)) }),
		header("excess blob gas", false, func(header, _ *types.Header) { *header.ExcessBlobGas++ }),
		header("blob gas used", false, func(header, _ *types.Header) { *header.BlobGasUsed += params.BlobTxBlobGasPerBlob }),
		header("extra data", true, func(header, _ *types.Header) { header.Extra = make([]byte, 33) }),
		header("difficulty", true, func(header, _ *types.Header) { header.Difficulty = big.NewInt(1) }),
		transaction("signature", func(*types.Block) *types.Transaction {
			return types.NewTx(&types.LegacyTx{To: &common.Address{1}, Gas: 21000, GasPrice: big.NewInt(params.GWei), V: big.NewInt(27), R: big.NewInt(1), S: big.NewInt(0)})
		}),
		transaction("chain ID", func(good *types.Block) *types.Transaction {
			return types.MustSignNewTx(anyKey(), types.LatestSignerForChainID(big.NewInt(77)), &types.DynamicFeeTx{
				ChainID: big.NewInt(77), To: &common.Address{1}, Gas: 21000, GasFeeCap: good.BaseFee(), GasTipCap: common.Big0,
			})
		}),
		transaction("fee cap below base fee", func(good *types.Block) *types.Transaction {
			return types.MustSignNewTx(anyKey(), types.LatestSigner(params.MergedTestChainConfig), &types.LegacyTx{
				To: &common.Address{1}, Gas: 21000, GasPrice: new(big.Int).Sub(good.BaseFee(), common.Big1),
			})
		}),
		transaction("tip above fee cap", func(good *types.Block) *types.Transaction {
			return types.MustSignNewTx(anyKey(), types.LatestSigner(params.MergedTestChainConfig), &types.DynamicFeeTx{
				ChainID: params.MergedTestChainConfig.ChainID, To: &common.Address{1}, Gas: 21000,
				GasFeeCap: good.BaseFee(), GasTipCap: new(big.Int).Add(good.BaseFee(), common.Big1),
			})
		}),
	}
}

func anyKey() *ecdsa.PrivateKey {
	key, _ := crypto.ToECDSA(common.LeftPadBytes([]byte{7}, 32))
	return key
}

// parentCase is where the parent of a block, number 10, is when the block comes.
type parentCase struct {
	name    string
	prepare func(f *fixture)
	decided bool // the parent's header can be had
	latest  bool // the parent is the latest valid block
}

func parentCases() []parentCase {
	mute := func(f *fixture) { f.set(100*time.Millisecond, true) }
	return []parentCase{
		{"executed", func(f *fixture) { f.follow(1, 10); mute(f) }, true, true},
		{"known header", func(f *fixture) {
			f.follow(1, 5)
			var headers []*types.Header
			for number := 6; number <= 10; number++ {
				headers = append(headers, f.at(number).Header())
			}
			if err := f.chain.AddHeaders(headers); err != nil {
				f.t.Fatal(err)
			}
			mute(f)
		}, true, false},
		{"being imported", func(f *fixture) { f.follow(1, 5); mute(f); f.payload(f.at(10), time.Millisecond) }, true, false},
		{"fetched", func(f *fixture) { f.follow(1, 5) }, true, false},
		{"fetched by a fresh node", func(*fixture) {}, true, false},
		{"never seen", func(f *fixture) { f.follow(1, 5); mute(f) }, false, false},
	}
}

// inBothPhases runs a test on a beaming node that has no state, and on a full one.
func inBothPhases(t *testing.T, n *network, test func(f *fixture)) {
	t.Helper()
	for _, phase := range []Phase{Beaming, FullNode} {
		t.Run(phase.String(), func(t *testing.T) {
			inBubbleOn(t, n, 30, func(f *fixture) {
				test(f)
			}, func(cfg *Config) {
				if phase == FullNode {
					cfg.Local, cfg.States = n.states, &newestStates{states: n.states, keep: 128, roots: []common.Hash{n.genesis.ToBlock().Root()}}
				}
			})
		})
	}
}

// TestVerdicts: what can be known of a block without state is known at once, with the right latestValidHash, wherever its
// parent is. So is what can be known of its descendants. A good block is never rejected.
func TestVerdicts(t *testing.T) {
	n := newNetwork(t, params.MergedTestChainConfig, 12)
	for _, parent := range parentCases() {
		t.Run(parent.name, func(t *testing.T) {
			inBothPhases(t, n, func(f *fixture) {
				parent.prepare(f)
				f.mu.Lock()
				f.asked = 0
				f.mu.Unlock()
				for _, defect := range defects() {
					f.verdict(parent, defect)
				}
				if f.asked > 0 {
					f.t.Errorf("%d requests for state", f.asked)
				}
				f.set(100*time.Millisecond, false)
				for number := 10; number <= 12; number++ {
					f.want(fmt.Sprintf("good block %d", number), f.payload(f.at(number), time.Minute), Valid)
				}
			})
		})
	}
}

// verdict gives a bad block 11 and two descendants to a node, and waits for no more than one answer of a peer.
func (f *fixture) verdict(parent parentCase, defect defect) {
	f.t.Helper()
	bad := defect.make(f.at(11), f.at(10).Header())
	child := f.childOf(bad)
	want := Syncing
	if parent.decided || defect.alone {
		want = Invalid
	}
	for depth, block := range []*types.Block{bad, child, f.childOf(child), bad} {
		what := fmt.Sprintf("%s, %d blocks above", defect.name, depth%3)
		status := f.payload(block, 150*time.Millisecond)
		f.want(what, status, want)
		switch latest := f.at(10).Hash(); {
		case want == Invalid && parent.latest && (status.LatestValid == nil || *status.LatestValid != latest):
			f.t.Errorf("%s: latestValidHash %v, want the parent", what, status.LatestValid)
		case (want != Invalid || !parent.latest) && status.LatestValid != nil:
			f.t.Errorf("%s: latestValidHash %x, want none", what, *status.LatestValid)
		}
	}
	if want == Invalid {
		outcome, err := f.choose(child.Hash(), common.Hash{}, common.Hash{}, time.Millisecond)
		if err != nil {
			f.t.Fatal(err)
		}
		f.want("forkchoice: "+defect.name, outcome, Invalid)
	}
}

// TestLatestValidLater: the latestValidHash of an invalid block is known once its parent is executed.
func TestLatestValidLater(t *testing.T) {
	inBothPhases(t, newNetwork(t, params.MergedTestChainConfig, 12), func(f *fixture) {
		f.follow(1, 9)
		for _, defect := range defects() {
			f.want(defect.name, f.payload(defect.make(f.at(11), f.at(10).Header()), 150*time.Millisecond), Invalid)
		}
		f.follow(10, 10)
		for _, defect := range defects() {
			outcome := f.payload(defect.make(f.at(11), f.at(10).Header()), 0)
			f.want(defect.name, outcome, Invalid)
			if outcome.LatestValid == nil || *outcome.LatestValid != f.at(10).Hash() {
				f.t.Errorf("%s: latestValidHash %v, want block 10", defect.name, outcome.LatestValid)
			}
		}
	})
}

// TestInvalidWakes: blocks that wait for an ancestor from peers end when it comes as a payload and is invalid.
func TestInvalidWakes(t *testing.T) {
	inBothPhases(t, newNetwork(t, params.MergedTestChainConfig, 12), func(f *fixture) {
		f.follow(1, 5)
		f.set(100*time.Millisecond, true)
		header := types.CopyHeader(f.at(6).Header())
		header.Time = f.at(5).Time()
		chain := []*types.Block{types.NewBlockWithHeader(header).WithBody(*f.at(6).Body())}
		for range 3 {
			chain = append(chain, f.childOf(chain[len(chain)-1]))
		}
		answers := make(chan Outcome, len(chain))
		for _, block := range slices.Backward(chain) {
			go func() { answers <- f.payload(block, time.Minute) }()
			synctest.Wait()
		}
		for range chain {
			select {
			case outcome := <-answers:
				f.want("descendant", outcome, Invalid)
				if outcome.LatestValid == nil || *outcome.LatestValid != f.at(5).Hash() {
					f.t.Errorf("latestValidHash %v, want block 5", outcome.LatestValid)
				}
			case <-time.After(time.Second):
				f.t.Fatal("a block still waits for an invalid ancestor")
			}
		}
		if pending := f.importer.Status().Pending; len(pending) > 0 {
			f.t.Errorf("still pending: %+v", pending)
		}
	})
}

// TestInvalidAncestorHeader: an ancestor whose header breaks a rule makes the block invalid as soon as peers send the
// headers. Their bodies are not requested.
func TestInvalidAncestorHeader(t *testing.T) {
	n := newNetwork(t, params.MergedTestChainConfig, 12)
	inBothPhases(t, n, func(f *fixture) {
		f.follow(1, 5)
		for _, defect := range defects() {
			bad := []*types.Block{defect.make(f.at(8), f.at(7).Header())}
			switch number := bad[0].NumberU64(); {
			case chain.VerifyHeader(n.genesis.Config, bad[0].Header(), f.at(7).Header()) == nil: // its body is bad
				continue
			case number > 100: // its descendants are out of reach: a beaming node needs no ancestor but the parent
				continue
			case number == 0: // its descendants belong to another network
				continue
			}
			for range 3 {
				bad = append(bad, f.childOf(bad[len(bad)-1]))
			}
			n.side = append(n.side, bad...)
			for _, header := range bad {
				n.bare = append(n.bare, header.Hash())
			}
			for _, at := range []int{3, 2, 1, 0} {
				f.want(fmt.Sprintf("%s, %d blocks above", defect.name, at), f.payload(bad[at], 250*time.Millisecond), Invalid)
			}
		}
		f.want("good block", f.payload(f.at(12), time.Minute), Valid)
	})
}
