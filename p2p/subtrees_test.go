// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/protocols/snap"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/holiman/uint256"
)

// testSwarm has the subtrees of hashes 1 (two slots), 2 (two accounts) and 3 (cut).
type testSwarm struct {
	have   atomic.Pointer[Have]
	onHave chan Have
}

func newTestSwarm() *testSwarm {
	s := &testSwarm{onHave: make(chan Have, 16)}
	s.have.Store(&Have{Number: 7, Root: common.Hash{7}, Since: 3, Active: true, Accounts: [32]byte{0x80}, Large: []common.Hash{{5}}, LargeSlices: [][32]byte{{1}}})
	return s
}

func (s *testSwarm) Have() Have { return *s.have.Load() }

func (s *testSwarm) OnHave(p *Peer) {
	if s.onHave != nil {
		s.onHave <- p.Have()
	}
}

func testAccount() []byte {
	enc, _ := rlp.EncodeToBytes(&types.StateAccount{Nonce: 1, Balance: uint256.NewInt(2), Root: types.EmptyRootHash, CodeHash: types.EmptyCodeHash[:]})
	return enc
}

func (s *testSwarm) Subtree(_ common.Hash, path []byte, hash common.Hash, maxBytes int) (keys []common.Hash, values, proof [][]byte) {
	switch hash {
	case common.Hash{1}:
		return []common.Hash{{1}, {2}}, [][]byte{path, {2}}, nil
	case common.Hash{2}:
		return []common.Hash{{1}, {2}}, [][]byte{testAccount(), testAccount()}, nil
	case common.Hash{3}:
		return []common.Hash{{1}}, [][]byte{{byte(maxBytes >> 16)}}, [][]byte{{0xc0}}
	}
	return nil, nil, nil
}

func (s *testSwarm) serving(chain testChain) PeerConfig {
	cfg := chain.serving()
	cfg.Witnesses, cfg.Swarm = testWitnesses{}, s
	return cfg
}

func TestSubtreeRoundTrips(t *testing.T) {
	chain, here, there := newTestChain(t), newTestSwarm(), newTestSwarm()
	c := connect(t, 71, true, here.serving(chain), there.serving(chain))
	ctx := testContext(t)
	owner := common.Hash{9}
	keys, values, proof, err := c.client.Subtrees(ctx, []Subtree{
		{owner, []byte{1, 2, 3}, common.Hash{1}}, {owner, nil, common.Hash{8}}, {common.Hash{}, nil, common.Hash{2}}, {owner, nil, common.Hash{3}}, {owner, nil, common.Hash{1}},
	}, 512<<10)
	if err != nil {
		t.Fatal(err)
	}
	two := []common.Hash{{1}, {2}}
	equal(t, "keys", keys, [][]common.Hash{two, {}, two, {{1}}}) // the last one is behind the cut
	equal(t, "values", values, [][][]byte{{{1, 2, 3}, {2}}, {}, {testAccount(), testAccount()}, {{7}}})
	equal(t, "proof", proof, [][]byte{{0xc0}})
	if keys, _, _, err = c.client.Subtrees(ctx, []Subtree{{owner, nil, common.Hash{1}}}, 0); err != nil || len(keys) != 0 {
		t.Errorf("%d lists in no bytes, %v", len(keys), err)
	}
	// Each side announces its Have at once, and again when it changes.
	equal(t, "Have at the client", receive(t, "have", here.onHave), there.Have())
	equal(t, "Have at the server", receive(t, "have", there.onHave), here.Have())
	there.have.Store(&Have{Number: 8})
	c.server.SwarmChanged()
	equal(t, "Have at the client", receive(t, "have", here.onHave).Number, 8)
	equal(t, "what is kept", c.client.Have().Number, 8)
}

// TestSubtreesUnsupported: without beam/2 no message is sent, without a backend nothing is served.
func TestSubtreesUnsupported(t *testing.T) {
	chain := newTestChain(t)
	c := connect(t, 71, true, chain.serving(), chain.serving())
	if _, _, _, err := c.client.Subtrees(testContext(t), nil, 1); !errors.Is(err, errors.ErrUnsupported) || c.client.ServesSubtrees() {
		t.Errorf("%v", err)
	}
	c.client.SwarmChanged()
	cfg := chain.serving()
	cfg.Witnesses = testWitnesses{}
	c = connect(t, 71, true, cfg, cfg)
	if keys, _, _, err := c.client.Subtrees(testContext(t), make([]Subtree, 1), 1000); err != nil || len(keys) != 0 {
		t.Errorf("%d lists, %v", len(keys), err)
	}
	equal(t, "have", c.client.Have().Number, 0)
}

func TestSubtreeProtocolErrors(t *testing.T) {
	chain := newTestChain(t)
	large := repeat(largePacket{}, maxLarge+1)
	for _, test := range []struct {
		name   string
		code   uint64
		packet any
		kind   Kind
	}{
		{"path with a terminator", getSubtreesCode, []any{uint64(1), []wireSubtree{{Path: []byte{0x20}}}, uint64(1000)}, KindInvalid},
		{"path too long", getSubtreesCode, []any{uint64(1), []wireSubtree{{Path: make([]byte, 34)}}, uint64(1000)}, KindInvalid},
		{"no subtree", getSubtreesCode, []any{uint64(1), []string{"abc"}, uint64(1000)}, KindMalformed},
		{"no size", getSubtreesCode, []any{uint64(1), []wireSubtree{}}, KindMalformed},
		{"unrequested", subtreesCode, []any{uint64(1), []string{}, []string{}}, KindUnrequested},
		{"too many large tries", haveCode, &havePacket{Large: large}, KindExcess},
		{"short set", haveCode, []any{uint64(1), common.Hash{}, uint64(1), true, "abc", []string{}}, KindMalformed},
	} {
		t.Run(test.name, func(t *testing.T) {
			swarm := newTestSwarm()
			h := newRawPeer(t, 71, chain, swarm.serving(chain))
			go func() { // it tells what it has
				if msg, err := h.beam.ReadMsg(); err == nil {
					_ = msg.Discard()
				}
			}()
			send(h.beam, test.code, test.packet)
			wantProtocolError(t, <-h.over, test.kind)
		})
	}
}

func TestSubtreeInvalidReplies(t *testing.T) {
	chain := newTestChain(t)
	slot := func(key byte) *snap.StorageData { return &snap.StorageData{Hash: common.Hash{key}, Body: []byte{1}} }
	list := func(slots ...*snap.StorageData) []*snap.StorageData { return slots }
	for _, test := range []struct {
		name   string
		fields []any // fields behind the request id
		kind   Kind
	}{
		{"too many lists", []any{[][]*snap.StorageData{list(), list(), list()}, []string{}}, KindExcess},
		{"no order", []any{[][]*snap.StorageData{list(), list(slot(2), slot(1))}, []string{}}, KindInvalid},
		{"twice the same", []any{[][]*snap.StorageData{list(), list(slot(2), slot(2))}, []string{}}, KindInvalid},
		{"no account", []any{[][]*snap.StorageData{list(slot(1))}, []string{}}, KindInvalid},
		{"long proof", []any{[][]*snap.StorageData{}, slices.Repeat([]string{"a"}, maxProof+1)}, KindExcess},
		{"no proof", []any{[][]*snap.StorageData{}}, KindMalformed},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newRawPeer(t, 71, chain, PeerConfig{NetworkID: 7, Chain: chain})
			result := make(chan error, 1)
			go func() {
				_, _, _, err := h.peer.Subtrees(testContext(t), []Subtree{{}, {Owner: common.Hash{1}}}, 1000)
				result <- err
			}()
			send(h.beam, subtreesCode, append([]any{readRequest(t, h.beam, getSubtreesCode)}, test.fields...))
			wantProtocolError(t, <-result, test.kind)
			wantProtocolError(t, <-h.over, test.kind)
		})
	}
}

// slowSwarm is slow for each subtree.
type slowSwarm struct {
	*testSwarm
	looked atomic.Int64
}

func (s *slowSwarm) Subtree(common.Hash, []byte, common.Hash, int) ([]common.Hash, [][]byte, [][]byte) {
	s.looked.Add(1)
	time.Sleep(maxSubtreeTime / 4)
	return nil, nil, nil
}

// TestSubtreeLimits: a request for many subtrees is answered in part: by number, bytes and time.
func TestSubtreeLimits(t *testing.T) {
	swarm := newTestSwarm()
	wants := make([]wireSubtree, 2000)
	list, err := rlp.EncodeToRawList(wants)
	if err != nil {
		t.Fatal(err)
	}
	serve := func(s Swarm, bytes uint64) int {
		p := NewPeer(Link{ID: "x", Version: 71}, PeerConfig{Swarm: s})
		reply, err := p.serveSubtrees(&getSubtreesRequest{ID: 1, Subtrees: list, Bytes: bytes})
		if err != nil {
			t.Fatal(err)
		}
		return len(reply.(*subtreesPacket).Leaves)
	}
	equal(t, "looked for", serve(swarm, 1<<30), maxSubtrees)
	equal(t, "looked for in few bytes", serve(swarm, 10*subtreeCost), 10)
	slow := &slowSwarm{testSwarm: swarm}
	if n := serve(slow, 1<<30); n > 6 || int64(n) != slow.looked.Load() {
		t.Errorf("%d answered, %d looked for in %v", n, slow.looked.Load(), maxSubtreeTime)
	}
}
