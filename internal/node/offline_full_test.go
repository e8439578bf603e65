// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/beamsync/importer"
	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/config"
)

// TestImportedStates: after init and import a node has the states of the newest blocks, answers for them without peers,
// follows a reorg, and serves other nodes.
func TestImportedStates(t *testing.T) {
	const length = 300
	genesis := pragueGenesis()
	main := chainOn(genesis, nil, length, 0)
	side := chainOn(genesis, main[length-2], 1, 1) // a sibling of the head
	cfg := localConfig(t)
	check(t, Init(cfg, genesis, discard))
	check(t, Import(t.Context(), cfg, []string{chainFile(t, "a.rlp", main...)}, discard))
	n := start(t, cfg)
	if status := (beam{n.Node}).status(); status.Phase != importer.FullNode.String() || status.Head != length {
		t.Fatalf("after the import: %+v", status)
	}
	wholeState(t, n, main[length-1])
	wholeState(t, n, main[length-65]) // where a peer's snap sync pivots
	client, err := gethrpc.Dial(n.cfg.IPCEndpoint())
	check(t, err)
	defer client.Close()
	rich := crypto.PubkeyToAddress(richKey.PublicKey)
	for back := range 100 {
		block := main[length-1-back]
		var nonce hexutil.Uint64
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		err := client.CallContext(ctx, &nonce, "eth_getTransactionCount", rich, hexutil.EncodeUint64(block.NumberU64()))
		cancel()
		if err != nil || uint64(nonce) != 4*block.NumberU64() {
			t.Fatalf("nonce at head-%d: %d, error %v", back, nonce, err)
		}
	}
	bring(t, n, side...)
	bring(t, n, main[length-1])

	// Another node, made by init only, beams from this one and becomes full.
	other := localConfig(t)
	other.P2P.StaticNodes = []string{n.host.Self().URLv4()}
	check(t, Init(other, genesis, discard))
	fresh := start(t, other)
	await(t, fresh, "peer", func(s beamStatus) bool { return s.StatePeers > 0 })
	bring(t, fresh, main[length-1])
	await(t, fresh, "full mode", func(s beamStatus) bool { return s.Phase == importer.FullNode.String() && s.HotBytes == 0 })
	wholeState(t, fresh, main[length-1])
	if fresh.chain.Status(main[0].Hash()) == chain.Executed {
		t.Error("the node executed the chain from genesis on instead of beaming")
	}
	fresh.stop(t)
	n.stop(t)
}

// TestFullFromGenesis follows a new network: the node made by init has all states from genesis on, also after a
// restart and a kill.
func TestFullFromGenesis(t *testing.T) {
	genesis := pragueGenesis()
	main := chainOn(genesis, nil, 40, 0)
	side := chainOn(genesis, nil, 3, 1) // from genesis on
	cfg := localConfig(t)
	check(t, Init(cfg, genesis, discard))
	start(t, cfg).stop(t)
	n := start(t, cfg)
	if status := (beam{n.Node}).status(); status.Phase != importer.FullNode.String() || !n.full().Has(n.chain.Genesis().Root()) {
		t.Fatalf("at genesis: %+v", status)
	}
	bring(t, n, main[:3]...)
	bring(t, n, side...)
	bring(t, n, main[2:20]...)
	await(t, n, "full mode on disk", func(s beamStatus) bool {
		is, err := n.store.IsFull()
		return err == nil && is && s.HotBytes == 0
	})
	cfg = kill(t, n)
	n = start(t, cfg)
	bring(t, n, main[20:]...)
	await(t, n, "catching up", func(s beamStatus) bool { return s.CatchUp == nil && s.Phase == importer.FullNode.String() })
	for _, block := range slices.Concat(main, side) {
		if !n.full().Has(block.Root()) && block.NumberU64() > 3 {
			t.Errorf("the state of block %d is lost", block.NumberU64())
		}
	}
	wholeState(t, n, main[39])
	n.stop(t)
}

// TestImportGoesOn: a file that cannot be imported does not stop those after it, and is reported.
func TestImportGoesOn(t *testing.T) {
	genesis := pragueGenesis()
	blocks := chainOn(genesis, nil, 31, 0)
	wrong := blocks[10].Header()
	wrong.Root = common.Hash{1}
	bad := types.NewBlockWithHeader(wrong).WithBody(*blocks[10].Body())
	var files []string
	for i, block := range blocks {
		files = append(files, chainFile(t, fmt.Sprintf("%d.rlp", i), block))
	}
	garbage := filepath.Join(t.TempDir(), "garbage.rlp")
	check(t, os.WriteFile(garbage, []byte("not RLP"), 0o600))
	absent := filepath.Join(t.TempDir(), "absent.rlp")
	files = slices.Insert(files, 10, chainFile(t, "bad.rlp", bad), garbage, absent, chainFile(t, "bad.rlp.gz", bad, blocks[10]))

	cfg := localConfig(t)
	check(t, Init(cfg, genesis, discard))
	err := Import(t.Context(), cfg, files, discard)
	if err == nil || !strings.Contains(err.Error(), files[10]) || !strings.Contains(err.Error(), "block 11 is invalid") ||
		!strings.Contains(err.Error(), "4 of 35 files") {
		t.Errorf("error %v", err)
	}
	n := start(t, cfg)
	if head := n.chain.CurrentHeader().Number.Uint64(); head != 31 {
		t.Errorf("head %d", head)
	}
	wholeState(t, n, blocks[30])
	n.stop(t)
}

// TestImportOfNothing leaves the node at genesis as it was: it beams to a network that is far ahead.
func TestImportOfNothing(t *testing.T) {
	genesis := pragueGenesis()
	blocks := chainOn(genesis, nil, 2, 0)
	cfg := localConfig(t)
	check(t, Init(cfg, genesis, discard))
	if err := Import(t.Context(), cfg, []string{chainFile(t, "a.rlp", blocks[1])}, discard); err == nil {
		t.Error("a block without its parent was imported")
	}
	n, err := New(cfg, discard)
	check(t, err)
	if is, err := n.store.IsFull(); err != nil || is || n.genesis.Load() == nil {
		t.Errorf("full mode on disk: %v, error %v", is, err)
	}
	check(t, n.Close())
	check(t, Import(t.Context(), cfg, []string{chainFile(t, "a.rlp", blocks...)}, discard))
	n, err = New(cfg, discard)
	check(t, err)
	if n.loaded.states == nil || n.chain.CurrentHeader().Hash() != blocks[1].Hash() {
		t.Errorf("head %d", n.chain.CurrentHeader().Number)
	}
	check(t, n.Close())
}

// TestImportKilled ends the process at moments of init and import; doing it again ends well.
func TestImportKilled(t *testing.T) {
	genesis := pragueGenesis()
	blocks := chainOn(genesis, nil, 200, 0)
	cfg := localConfig(t)
	n := &Node{cfg: *cfg, log: discard}
	check(t, n.open(nil, ownNetwork(genesis)))
	left := map[string]*config.Config{"no state": snapshot(t, cfg)}
	check(t, n.completeGenesis(t.Context()))
	left["genesis state"] = snapshot(t, cfg)
	check(t, n.fillFromGenesis(t.Context()))
	left["full mode"] = snapshot(t, cfg)
	check(t, n.importFiles(t.Context(), []string{chainFile(t, "a.rlp", blocks[:150]...)}))
	left["imported"] = snapshot(t, cfg)
	check(t, n.Close())
	left["closed"] = snapshot(t, cfg)
	file := chainFile(t, "b.rlp", blocks...)
	for moment, cfg := range left {
		t.Run(moment, func(t *testing.T) {
			check(t, Import(t.Context(), cfg, []string{file}, discard))
			n := start(t, cfg)
			if status := (beam{n.Node}).status(); status.Phase != importer.FullNode.String() || status.Head != 200 {
				t.Fatalf("%+v", status)
			}
			wholeState(t, n, blocks[199])
			wholeState(t, n, blocks[99])
			status, err := n.importer.Forkchoice(t.Context(), importer.Forkchoice{Head: blocks[198].Hash()})
			if err != nil || status.Status != importer.Valid {
				t.Errorf("one block back: %+v, error %v", status, err)
			}
			n.stop(t)
		})
	}
}
