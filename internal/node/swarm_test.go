// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus/beacon"
	"github.com/ethereum/go-ethereum/consensus/ethash"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/sunbeam-eth/sunbeam/beamsync/importer"
	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/p2p"
)

// TestSwarmServing: a node with a complete state announces that, and serves the subtrees of that state and no others.
func TestSwarmServing(t *testing.T) {
	genesis := pragueGenesis()
	blocks := blocksOn(t, genesis, 5, func(int, []*types.Block) common.Hash { return common.Hash{1} })
	cfg := localConfig(t)
	beamedTo(t, cfg, genesis, blocks...)
	n := start(t, cfg)
	<-n.backfill.Done()
	s, full := n.swarm(), func(have p2p.Have) bool {
		return !have.Active && have.Number == 5 && have.Accounts[0] == 0xff && have.Accounts[31] == 0xff
	}
	if have := s.Have(); !full(have) {
		t.Errorf("announces %+v", have)
	}
	for n.importer.Phase() == importer.Beaming {
		time.Sleep(10 * time.Millisecond)
	}
	if have := s.Have(); !full(have) {
		t.Errorf("as a full node, announces %+v", have)
	}
	blob, err := n.store.Complete().Node(common.Hash{}, nil)
	check(t, err)
	root := crypto.Keccak256Hash(blob)
	keys, values, proof := s.Subtree(common.Hash{}, nil, root, 1<<20)
	if len(keys) == 0 || len(values) != len(keys) || proof != nil {
		t.Errorf("%d keys, %d values, %d nodes of proof", len(keys), len(values), len(proof))
	}
	if keys, _, _ = s.Subtree(common.Hash{}, nil, common.Hash{1}, 1<<20); len(keys) != 0 {
		t.Errorf("%d keys of an unknown state", len(keys))
	}
	// The state of a swarm peer is usable if the blocks since are held.
	if head := n.chain.CurrentHeader(); n.usableRoot(5) != head.Root || n.usableRoot(6) != (common.Hash{}) {
		t.Error("the root of the head is unusable, or that of an unknown block is usable")
	}
	n.stop(t)
}

// TestUsableRoot: the state of a swarm peer is usable if its block was executed here: then the blocks since are, and the switch to
// full mode can begin there. It is not usable if the block came from the chain backfill.
func TestUsableRoot(t *testing.T) {
	genesis := pragueGenesis()
	_, blocks, receipts := core.GenerateChainWithGenesis(genesis, beacon.New(ethash.NewFaker()), 5, func(int, *core.BlockGen) {})
	store, err := db.OpenMemory(db.Options{})
	check(t, err)
	defer store.Close()
	n := new(Node)
	n.chain, err = chain.New(store.Chain(), genesis)
	check(t, err)
	check(t, n.chain.AddHeaders([]*types.Header{blocks[2].Header(), blocks[3].Header()}))
	check(t, n.chain.Commit(blocks[4], receipts[4]))
	_, err = n.chain.SetHead(blocks[4].Hash())
	check(t, err)
	usable := func() bool {
		return n.usableRoot(5) == blocks[4].Root() && n.usableRoot(4) == (common.Hash{}) && n.usableRoot(6) == (common.Hash{})
	}
	if !usable() {
		t.Errorf("without history: %x, %x", n.usableRoot(5), n.usableRoot(4))
	}
	check(t, n.chain.AddHistory(blocks[3:4], receipts[3:4]))
	if !usable() {
		t.Errorf("with history: %x, %x", n.usableRoot(5), n.usableRoot(4))
	}
}
