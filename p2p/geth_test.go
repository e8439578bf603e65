// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"bytes"
	"context"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	"github.com/ethereum/go-ethereum/eth/protocols/snap"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
)

// gethEth and gethSnap are the backends of go-ethereum's own protocol handlers.
type (
	gethEth  struct{ chain *core.BlockChain }
	gethSnap struct{ chain *core.BlockChain }
)

func (b gethEth) Chain() *core.BlockChain                        { return b.chain }
func (b gethEth) TxPool() eth.TxPool                             { return nil }
func (b gethEth) BlobPool() eth.BlobPool                         { return nil }
func (b gethEth) AcceptTxs() bool                                { return false }
func (b gethEth) RunPeer(peer *eth.Peer, h eth.Handler) error    { return h(peer) }
func (b gethEth) PeerInfo(enode.ID) any                          { return nil }
func (b gethEth) Handle(*eth.Peer, eth.Packet) error             { return nil }
func (b gethSnap) Chain() *core.BlockChain                       { return b.chain }
func (b gethSnap) RunPeer(peer *snap.Peer, h snap.Handler) error { return h(peer) }
func (b gethSnap) PeerInfo(enode.ID) any                         { return nil }
func (b gethSnap) Handle(*snap.Peer, snap.Packet) error          { return nil }

// connectGeth runs a Peer against go-ethereum's handlers on the test chain.
func connectGeth(t testing.TB, version uint, chain testChain) (client *Peer, ethErr, snapErr chan error) {
	t.Helper()
	ethOurs, ethTheirs := gethp2p.MsgPipe()
	snapOurs, snapTheirs := gethp2p.MsgPipe()
	ethErr, snapErr = make(chan error, 1), make(chan error, 1)
	head := chain.CurrentHeader()
	go func() {
		peer := eth.NewPeer(version, gethp2p.NewPeer(enode.ID{1}, "ours", nil), ethTheirs, nil, nil, chain.Config())
		defer peer.Close()
		err := peer.Handshake(7, chain, eth.BlockRangeUpdatePacket{LatestBlock: head.Number.Uint64(), LatestBlockHash: head.Hash()})
		if err == nil {
			err = eth.Handle(gethEth{chain.BlockChain}, peer)
		}
		ethErr <- err
		ethTheirs.Close()
	}()
	go func() {
		peer := snap.NewPeer(snap.SNAP1, gethp2p.NewPeer(enode.ID{1}, "ours", nil), snapTheirs)
		defer peer.Close()
		snapErr <- snap.Handle(gethSnap{chain.BlockChain}, peer)
		snapTheirs.Close()
	}()
	joined := make(chan struct{})
	cfg := PeerConfig{NetworkID: 7, Chain: chain, OnJoin: func(*Peer) { close(joined) }}
	client = NewPeer(Link{ID: "geth", Version: version, Eth: ethOurs, Snap: snapOurs}, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- client.Run(ctx); close(over) }()
	t.Cleanup(func() {
		cancel()
		for range over {
		}
	})
	select {
	case <-joined:
	case err := <-over:
		t.Fatalf("no join: ours %v, geth's %v", err, <-ethErr)
	}
	return client, ethErr, snapErr
}

func TestAgainstGeth(t *testing.T) {
	chain := newTestChain(t)
	for _, version := range offeredEth() {
		if version == eth66 { // go-ethereum has forgotten it: see package e2e for geth v1.10
			continue
		}
		p, _, _ := connectGeth(t, version, chain)
		checkChainRequests(t, p, chain)
		checkStateRequests(t, p, chain)
		checkAccessLists(t, p, chain)
		if number, hash := p.Head(); number != testBlocks || hash != chain.hash(testBlocks) {
			t.Errorf("head %d %x", number, hash)
		}
	}
}

// TestGethRoots: the state of the head and of the blocks before it is served up to a
// depth, others are answered empty.
func TestGethRoots(t *testing.T) {
	chain := newTestChain(t)
	p, _, _ := connectGeth(t, 69, chain)
	for back, want := range map[uint64]int{0: 1, 1: 1, 127: 1, 128: 1, 129: 0, 139: 0} {
		root := chain.Header(chain.hash(testBlocks - back)).Root
		nodes, err := p.TrieNodes(testContext(t), root, [][][]byte{{{0}}}, 1<<20)
		if err != nil || len(nodes) != want {
			t.Errorf("head-%d: %d nodes, %v, want %d", back, len(nodes), err, want)
		}
		if len(nodes) == 1 && crypto.Keccak256Hash(nodes[0]) != root {
			t.Errorf("head-%d: not the root node", back)
		}
	}
}

// TestGethEmbedded: a path that leads to an embedded node (no hash of its own) drops the
// rest of its path set, other sets are not touched.
func TestGethEmbedded(t *testing.T) {
	chain := newTestChain(t)
	p, _, _ := connectGeth(t, 71, chain)
	root := chain.CurrentHeader().Root
	owner := crypto.Keccak256Hash(testStorer[:])
	path := hexKey(crypto.Keccak256Hash(chain.slots[0][:]))
	set := [][]byte{owner[:]}
	for depth := range 12 {
		set = append(set, compact(path[:depth]))
	}
	nodes, err := p.TrieNodes(testContext(t), root, [][][]byte{set, {{0}}}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if len(nodes) >= 13 {
		t.Fatalf("%d nodes: nothing was cut", len(nodes))
	}
	if last := nodes[len(nodes)-1]; crypto.Keccak256Hash(last) != root {
		t.Errorf("the set after the cut one is missing")
	}
	// The last node before the cut holds both leaves.
	if parent := nodes[len(nodes)-2]; bytes.Count(parent, []byte{1}) < 2 || len(parent) < 60 {
		t.Errorf("parent of the embedded leaves: %x", parent)
	}
	// A terminated path and the storage of an unknown account yield no node either.
	nodes, err = p.TrieNodes(testContext(t), root, [][][]byte{{{0x20}}, {{1}, {0}}, {{0}}}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range nodes[:len(nodes)-1] {
		if len(node) != 0 {
			t.Errorf("a node for nothing: %x", node)
		}
	}
	equal(t, "root node", crypto.Keccak256Hash(nodes[len(nodes)-1]), root)
}

// TestGethLimits: the reply ends with the node that crosses the byte limit, and by the
// number of lookups.
func TestGethLimits(t *testing.T) {
	chain := newTestChain(t)
	p, _, _ := connectGeth(t, 70, chain)
	root := chain.CurrentHeader().Root
	var sets [][][]byte
	for i := range 1400 {
		sets = append(sets, [][]byte{compact([]byte{byte(i) & 15, byte(i>>4) & 15, byte(i>>8) & 15})})
	}
	nodes, err := p.TrieNodes(testContext(t), root, append([][][]byte{{{0}}}, sets...), 0)
	if err != nil || len(nodes) != 1 {
		t.Fatalf("limit of no bytes: %d nodes, %v", len(nodes), err)
	}
	nodes, err = p.TrieNodes(testContext(t), root, sets, 2<<20)
	if err != nil || len(nodes) < 300 || len(nodes) > 1025 {
		t.Fatalf("%d nodes of 1400 paths, %v", len(nodes), err)
	}
	t.Logf("1400 distinct paths of depth 3: %d entries", len(nodes))
}

// TestGethDisconnects: go-ethereum disconnects for an empty path set.
func TestGethDisconnects(t *testing.T) {
	chain := newTestChain(t)
	p, _, snapErr := connectGeth(t, 71, chain)
	err := p.write(testContext(t), msgGetTrieNodes, []any{uint64(1), chain.CurrentHeader().Root, []snap.TrieNodePathSet{{}}, uint64(1)})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-snapErr; err == nil {
		t.Fatal("go-ethereum accepted an empty path set")
	}
	<-p.Done()
	if _, err := p.ByteCodes(testContext(t), []common.Hash{{}}, 1); err == nil {
		t.Fatal("request to a disconnected peer")
	}
}

func TestGethRanges(t *testing.T) {
	chain := newTestChain(t)
	p, _, _ := connectGeth(t, 71, chain)
	ctx := testContext(t)
	root := chain.CurrentHeader().Root
	owner := crypto.Keccak256Hash(testStorer[:])
	accounts, err := p.AccountRange(ctx, root, owner, owner, 1<<20)
	if err != nil || len(accounts.Accounts) != 1 || accounts.Accounts[0].Hash != owner || len(accounts.Proof) == 0 {
		t.Fatalf("single account: %+v, %v", accounts, err)
	}
	slots, err := p.StorageRanges(ctx, root, []common.Hash{owner}, nil, nil, 1<<20)
	if err != nil || len(slots.Slots) != 1 || len(slots.Slots[0]) < 300 || len(slots.Proof) != 0 {
		t.Fatalf("storage: %v", err)
	}
	if accounts, err = p.AccountRange(ctx, common.Hash{1}, owner, owner, 1<<20); err != nil || len(accounts.Accounts) != 0 {
		t.Fatalf("unknown root: %+v, %v", accounts, err)
	}

	// Our own server answers the same.
	c := connect(t, 71, true, chain.serving(), chain.serving())
	if accounts, err = p.AccountRange(ctx, root, owner, owner, 1<<20); err != nil {
		t.Fatal(err)
	}
	ours, err := c.client.AccountRange(ctx, root, owner, owner, 1<<20)
	if err != nil || len(ours.Accounts) != 1 || !bytes.Equal(ours.Accounts[0].Body, accounts.Accounts[0].Body) || len(ours.Proof) != len(accounts.Proof) {
		t.Fatalf("our account range: %+v, %v", ours, err)
	}
	list, err := c.client.StorageRanges(ctx, root, []common.Hash{owner}, nil, nil, 1<<20)
	if err != nil || len(list.Slots) != 1 || len(list.Slots[0]) != len(slots.Slots[0]) || len(list.Proof) != 0 {
		t.Fatalf("our storage ranges: %+v, %v", list, err)
	}
}
