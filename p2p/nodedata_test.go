// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"bytes"
	"errors"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/forkid"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
)

// status66 is the status of the test chain over eth/66.
func (c testChain) status66() *status66 {
	return &status66{
		ProtocolVersion: eth66, NetworkID: 7, TD: big.NewInt(1), Head: c.CurrentHeader().Hash(),
		Genesis: c.Genesis().Hash(), ForkID: forkid.NewIDWithChain(c),
	}
}

// checkNodeData requests nodes and codes by hash, some of which do not exist.
func checkNodeData(t *testing.T, p *Peer, chain testChain) {
	t.Helper()
	root := chain.CurrentHeader().Root
	code := chain.Code(crypto.Keccak256Hash([]byte{0x5f, 0x35, 0x43, 0x55, 0x00}))
	blobs, err := p.NodeData(testContext(t), []common.Hash{{1}, crypto.Keccak256Hash(code), {2}, root})
	if err != nil {
		t.Fatalf("node data: %v", err)
	}
	equal(t, "blobs", len(blobs), 2)
	if !bytes.Equal(blobs[0], code) || crypto.Keccak256Hash(blobs[1]) != root {
		t.Errorf("got %x", blobs)
	}
	if blobs, err = p.NodeData(testContext(t), []common.Hash{{1}}); err != nil || len(blobs) != 0 {
		t.Errorf("nothing of what was requested: %x, %v", blobs, err)
	}
}

func TestNodeData(t *testing.T) {
	chain := newTestChain(t)
	c := connect(t, eth66, false, chain.serving(), chain.serving())
	checkNodeData(t, c.client, chain)
	checkNodeData(t, c.server, chain)
	if !c.client.ServesNodeData() || c.client.ServesSubtrees() {
		t.Error("an eth/66 peer serves node data and is no Sunbeam node")
	}

	cfg := chain.serving()
	cfg.Witnesses = testWitnesses{}
	c = connect(t, 71, false, cfg, cfg)
	checkNodeData(t, c.client, chain)
	if !c.client.ServesNodeData() || !c.client.ServesSubtrees() {
		t.Error("a peer with beam/2 serves node data and is a Sunbeam node")
	}

	c = connect(t, 71, true, chain.serving(), chain.serving())
	if _, err := c.client.NodeData(testContext(t), []common.Hash{{1}}); !errors.Is(err, errors.ErrUnsupported) || c.client.ServesNodeData() {
		t.Errorf("without eth/66 and beam/2: %v", err)
	}
}

// countingData has a blob of some size for every hash.
type countingData struct {
	size    int
	lookups *int
}

func (d countingData) Data(hash common.Hash) []byte {
	*d.lookups++
	if hash[0] == 0xff {
		return nil
	}
	return append(make([]byte, d.size-common.HashLength), hash[:]...)
}

// TestNodeDataLimits: an answer ends at 1024 blobs, 2 MiB or 2048 lookups.
func TestNodeDataLimits(t *testing.T) {
	chain := newTestChain(t)
	tests := []struct {
		name           string
		size           int
		hashes, absent int // those that are absent come first
		blobs, lookups int
	}{
		{"all", 100, 1000, 0, 1000, 1000},
		{"count", 100, 3000, 0, 1024, 1024},
		{"bytes", 1 << 20, 10, 0, 2, 2},
		{"lookups", 100, 10, 3000, 0, 2048},
		{"gaps", 100, 500, 1000, 500, 1500},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			lookups := 0
			cfg := chain.serving()
			cfg.Data = countingData{test.size, &lookups}
			h := newRawPeer(t, eth66, chain, cfg)
			hashes := make([]common.Hash, test.hashes+test.absent)
			for i := range hashes {
				hashes[i] = common.BigToHash(big.NewInt(int64(i)))
				if i < test.absent {
					hashes[i][0] = 0xff
				}
			}
			send(h.eth, getNodeDataCode, &getNodeDataPacket{9, hashes})
			msg, err := h.eth.ReadMsg()
			if err != nil || msg.Code != nodeDataCode {
				t.Fatalf("message %#x, %v", msg.Code, err)
			}
			var reply nodeDataPacket
			if err := msg.Decode(&reply); err != nil {
				t.Fatal(err)
			}
			equal(t, "id", reply.ID, uint64(9))
			equal(t, "blobs", len(reply.Blobs), test.blobs)
			equal(t, "lookups", lookups, test.lookups)
		})
	}
}

// TestNodeDataExcess: more items than requested are a protocol error.
func TestNodeDataExcess(t *testing.T) {
	chain := newTestChain(t)
	h := newRawPeer(t, eth66, chain, chain.serving())
	result := make(chan error, 1)
	go func() {
		_, err := h.peer.NodeData(testContext(t), []common.Hash{{1}})
		result <- err
	}()
	id := readRequest(t, h.eth, getNodeDataCode)
	send(h.eth, nodeDataCode, &nodeDataPacket{id, [][]byte{{1}, {2}}})
	wantProtocolError(t, <-result, KindExcess)
}

// TestStatus66: the status of eth/66 in both directions, and what ends a connection.
func TestStatus66(t *testing.T) {
	chain := newTestChain(t)
	tests := []struct {
		name   string
		change func(*status66)
		kind   Kind
	}{
		{"network", func(s *status66) { s.NetworkID = 8 }, KindIncompatible},
		{"version", func(s *status66) { s.ProtocolVersion = 67 }, KindIncompatible},
		{"genesis", func(s *status66) { s.Genesis = common.Hash{9} }, KindIncompatible},
		{"fork", func(s *status66) { s.ForkID = forkid.ID{Hash: [4]byte{1}} }, KindIncompatible},
		{"no head", func(s *status66) { s.Head = common.Hash{} }, KindInvalid},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ours, theirs := gethp2p.MsgPipe()
			p := NewPeer(Link{ID: "them", Version: eth66, Eth: ours}, PeerConfig{NetworkID: 7, Chain: chain})
			over := make(chan error, 1)
			go func() { over <- p.Run(testContext(t)) }()
			want := chain.status66()
			want.TD = chain.Config().TerminalTotalDifficulty
			go func() {
				if err := gethp2p.ExpectMsg(theirs, eth.StatusMsg, want); err != nil && !errors.Is(err, gethp2p.ErrPipeClosed) {
					t.Errorf("our status: %v", err)
				}
			}()
			s := chain.status66()
			test.change(s)
			send(theirs, eth.StatusMsg, s)
			wantProtocolError(t, <-over, test.kind)
		})
	}
}

// TestBlockAnnouncementsIgnored: block announcements from before the merge are ignored.
func TestBlockAnnouncementsIgnored(t *testing.T) {
	chain := newTestChain(t)
	txs := pool{chain.Block(chain.hash(9)).Transactions()[0], make(chan announcement, 1), nil}
	cfg := chain.serving()
	cfg.Transactions = txs
	h := newRawPeer(t, eth66, chain, cfg)
	send(h.eth, eth.NewBlockHashesMsg, []any{[]any{common.Hash{1}, uint64(5)}})
	send(h.eth, eth.NewBlockMsg, []any{})
	send(h.eth, eth.NewPooledTransactionHashesMsg, []common.Hash{{3}})
	equal(t, "announced", receive(t, "announcement", txs.announced), announcement{hashes: []common.Hash{{3}}})
}
