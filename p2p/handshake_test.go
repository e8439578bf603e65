// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/forkid"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
)

// status is the status of the test chain's node.
func (c testChain) status(version uint) *eth.StatusPacket {
	head := c.CurrentHeader()
	return &eth.StatusPacket{
		ProtocolVersion: uint32(version), NetworkID: 7, Genesis: c.Genesis().Hash(), ForkID: forkid.NewIDWithChain(c),
		LatestBlock: head.Number.Uint64(), LatestBlockHash: head.Hash(),
	}
}

func TestHandshakeMismatch(t *testing.T) {
	chain := newTestChain(t)
	status := func(change func(*eth.StatusPacket)) any {
		s := chain.status(71)
		change(s)
		return s
	}
	tests := []struct {
		name   string
		code   uint64
		packet any
		kind   Kind
		text   string
	}{
		{"network", eth.StatusMsg, status(func(s *eth.StatusPacket) { s.NetworkID = 8 }), KindIncompatible, "network id 8, want 7"},
		{"version", eth.StatusMsg, status(func(s *eth.StatusPacket) { s.ProtocolVersion = 70 }), KindIncompatible, "status for eth/70"},
		{"genesis", eth.StatusMsg, status(func(s *eth.StatusPacket) { s.Genesis = common.Hash{9} }), KindIncompatible, "genesis 09"},
		{"fork", eth.StatusMsg, status(func(s *eth.StatusPacket) { s.ForkID = forkid.ID{Hash: [4]byte{1}} }), KindIncompatible, "fork id"},
		{"range", eth.StatusMsg, status(func(s *eth.StatusPacket) { s.EarliestBlock = s.LatestBlock + 1 }), KindInvalid, "earliest"},
		{"no head", eth.StatusMsg, status(func(s *eth.StatusPacket) { s.LatestBlockHash = common.Hash{} }), KindInvalid, "zero"},
		{"garbage", eth.StatusMsg, []uint{1, 2}, KindMalformed, "status"},
		{"other message", eth.GetBlockHeadersMsg, []uint{1}, KindInvalid, "before the status"},
		{"too big", eth.StatusMsg, make([]byte, maxMessageSize), KindOversize, "bytes"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ours, theirs := gethp2p.MsgPipe()
			left := false
			p := NewPeer(Link{ID: "them", Version: 71, Eth: ours}, PeerConfig{
				NetworkID: 7, Chain: chain,
				OnJoin:  func(*Peer) { t.Error("joined") },
				OnLeave: func(*Peer) { left = true },
			})
			over := make(chan error, 1)
			go func() { over <- p.Run(testContext(t)) }()
			go func() { _ = gethp2p.ExpectMsg(theirs, eth.StatusMsg, chain.status(71)) }()
			send(theirs, test.code, test.packet)
			err := <-over
			wantProtocolError(t, err, test.kind)
			if !strings.Contains(err.Error(), test.text) || left {
				t.Errorf("error %q, left %v", err, left)
			}
			if _, err := p.Headers(testContext(t), common.Hash{}, 1, false); !errors.Is(err, ErrPeerGone) {
				t.Errorf("request afterwards: %v", err)
			}
		})
	}
}

func TestHandshakeTimeout(t *testing.T) {
	chain := newTestChain(t)
	synctest.Test(t, func(t *testing.T) {
		ours, _ := gethp2p.MsgPipe()
		start := time.Now()
		err := NewPeer(Link{ID: "silent", Version: 69, Eth: ours}, PeerConfig{NetworkID: 7, Chain: chain}).Run(t.Context())
		wantProtocolError(t, err, KindTimeout)
		equal(t, "time", time.Since(start), handshakeTimeout)
	})
}

func TestHandshakeCancelled(t *testing.T) {
	chain := newTestChain(t)
	synctest.Test(t, func(t *testing.T) {
		ours, _ := gethp2p.MsgPipe()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := NewPeer(Link{ID: "silent", Version: 69, Eth: ours}, PeerConfig{NetworkID: 7, Chain: chain}).Run(ctx); err != nil {
			t.Fatalf("cancelled: %v", err)
		}
	})
}

// movingChain is a chain whose head and oldest block can be set.
type movingChain struct {
	testChain
	head   *types.Header
	oldest uint64
}

func (c *movingChain) CurrentHeader() *types.Header { return c.head }
func (c *movingChain) Oldest() uint64               { return c.oldest }

// TestBlockRange: the range is announced when it has moved by an epoch or shrunk.
func TestBlockRange(t *testing.T) {
	chain := newTestChain(t)
	moving := &movingChain{testChain: chain, head: chain.Header(chain.hash(10))}
	server := chain.serving()
	server.Chain = moving
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, 69, false, chain.serving(), server)
		steps := []struct {
			head, oldest     uint64
			latest, earliest uint64 // as the client then knows it
		}{
			{10, 0, 10, 0},
			{20, 0, 10, 0}, // too little
			{41, 0, 10, 0}, // 31 blocks
			{42, 0, 42, 0}, // 32 blocks
			{30, 0, 30, 0}, // went back
			{31, 3, 31, 3}, // has less than it said
			{32, 1, 31, 3}, // backfilled a little
			{100, 1, 100, 1},
		}
		for _, step := range steps {
			moving.head, moving.oldest = chain.Header(chain.hash(step.head)), step.oldest
			c.server.HeadChanged()
			synctest.Wait()
			number, hash := c.client.Head()
			equal(t, "latest", number, step.latest)
			equal(t, "hash", hash, chain.hash(step.latest))
			equal(t, "earliest", c.client.Earliest(), step.earliest)
		}
	})
}
