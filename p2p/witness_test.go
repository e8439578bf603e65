// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"bytes"
	"errors"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/rlp"
)

// testKeys is an RLP list of keys.
var testKeys = rlp.RawValue{0xc3, 0x01, 0x02, 0x03}

// testWitnesses has a witness of block 1, one above the limit of block 2, and blocks for block 3.
type testWitnesses struct{ release chan struct{} }

func (w testWitnesses) WitnessHashes(block common.Hash) []common.Hash {
	switch block {
	case common.Hash{1}:
		return []common.Hash{{1}, {2}, {3}}
	case common.Hash{2}:
		return make([]common.Hash, maxWitnessHashes+1)
	case common.Hash{3}:
		<-w.release
	}
	return nil
}

func (w testWitnesses) WitnessKeys(block common.Hash) rlp.RawValue {
	switch block {
	case common.Hash{1}:
		return testKeys
	case common.Hash{2}:
		return make([]byte, MaxWitnessKeys+1)
	case common.Hash{4}:
		return largestKeys()
	}
	return nil
}

// largestKeys is an RLP list of exactly MaxWitnessKeys bytes.
func largestKeys() rlp.RawValue {
	keys := make([]byte, MaxWitnessKeys)
	copy(keys, []byte{0xfa, 0x1f, 0xff, 0xfc}) // a list of 2 MiB - 4 bytes, all zeros
	return keys
}

func checkWitnesses(t *testing.T, p *Peer) {
	t.Helper()
	ctx := testContext(t)
	if !p.ServesWitnessHashes() || !p.ServesWitnessKeys() {
		t.Fatal("no witnesses agreed on")
	}
	hashes, err := p.WitnessHashes(ctx, common.Hash{1})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "hashes", hashes, []common.Hash{{1}, {2}, {3}})
	keys, err := p.WitnessKeys(ctx, common.Hash{1})
	if err != nil || !bytes.Equal(keys, testKeys) {
		t.Fatalf("keys %x, %v", keys, err)
	}
	// Of an unknown block there is nothing, of a large one what fits.
	if hashes, err = p.WitnessHashes(ctx, common.Hash{9}); err != nil || len(hashes) != 0 {
		t.Fatalf("unknown block: %d hashes, %v", len(hashes), err)
	}
	if keys, err = p.WitnessKeys(ctx, common.Hash{9}); err != nil || keys != nil {
		t.Fatalf("unknown block: keys %x, %v", keys, err)
	}
	if hashes, err = p.WitnessHashes(ctx, common.Hash{2}); err != nil || len(hashes) != maxWitnessHashes {
		t.Fatalf("large block: %d hashes, %v", len(hashes), err)
	}
	if keys, err = p.WitnessKeys(ctx, common.Hash{2}); err != nil || keys != nil {
		t.Fatalf("too large a block: %d bytes of keys, %v", len(keys), err)
	}
	if keys, err = p.WitnessKeys(ctx, common.Hash{4}); err != nil || !bytes.Equal(keys, largestKeys()) {
		t.Fatalf("largest block: %d bytes of keys, %v", len(keys), err)
	}
}

func TestWitnessRoundTrips(t *testing.T) {
	chain := newTestChain(t)
	cfg := chain.serving()
	cfg.Witnesses = testWitnesses{}
	for _, version := range offeredEth() {
		c := connect(t, version, true, cfg, cfg)
		checkWitnesses(t, c.client)
		checkWitnesses(t, c.server)
		checkStateRequests(t, c.client, chain)
	}
}

// TestWitnessUnsupported: without the capabilities no message is sent; without a backend
// nothing is served.
func TestWitnessUnsupported(t *testing.T) {
	chain := newTestChain(t)
	c := connect(t, 71, true, chain.serving(), chain.serving())
	if c.client.ServesWitnessHashes() || c.client.ServesWitnessKeys() {
		t.Error("agreed on what nobody offered")
	}
	if _, err := c.client.WitnessHashes(testContext(t), common.Hash{1}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("hashes: %v", err)
	}
	if _, err := c.client.WitnessKeys(testContext(t), common.Hash{1}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("keys: %v", err)
	}

	h := newRawPeer(t, 71, chain, chain.serving())
	for _, rw := range []*gethp2p.MsgPipeRW{h.wit, h.beam} {
		request, reply := uint64(getWitnessHashesCode), uint64(witnessHashesCode)
		if rw == h.beam {
			request, reply = getWitnessKeysCode, witnessKeysCode
		}
		send(rw, request, &getWitnessPacket{7, common.Hash{1}})
		if err := gethp2p.ExpectMsg(rw, reply, []any{uint64(7), []uint{}}); err != nil {
			t.Error(err)
		}
	}
}

// TestWitnessOnTheWire compares messages byte by byte with the specifications.
func TestWitnessOnTheWire(t *testing.T) {
	chain := newTestChain(t)
	cfg := chain.serving()
	cfg.Witnesses = testWitnesses{}
	h := newRawPeer(t, 71, chain, cfg)
	block := common.Hash{1}
	want := append(common.FromHex("e207a0"), block[:]...) // [7, block]
	for _, test := range []struct {
		rw             *gethp2p.MsgPipeRW
		request, reply uint64
		answer         any
	}{
		{h.wit, 1, 2, []any{uint64(7), []common.Hash{{1}, {2}, {3}}}},
		{h.beam, 0, 1, []any{uint64(7), []uint{1, 2, 3}}},
	} {
		send(test.rw, test.request, rlp.RawValue(want))
		if err := gethp2p.ExpectMsg(test.rw, test.reply, test.answer); err != nil {
			t.Error(err)
		}
	}
}

func TestWitnessProtocolErrors(t *testing.T) {
	chain := newTestChain(t)
	tests := []struct {
		name   string
		beam   bool
		code   uint64
		packet any
		kind   Kind
	}{
		{"reserved code of wit", false, 0, []uint{}, KindUnknownMessage},
		{"code beyond wit", false, witLength, []uint{}, KindUnknownMessage},
		{"reserved code of beam", true, 7, []uint{}, KindUnknownMessage},
		{"no hash", true, beamGetNodeDataCode, []any{uint64(1), []string{"abc"}}, KindMalformed},
		{"unrequested data", true, beamNodeDataCode, []any{uint64(1), []string{"abc"}}, KindUnrequested},
		{"code beyond beam", true, beamLength, []uint{}, KindUnknownMessage},
		{"short block hash", false, getWitnessHashesCode, []any{uint64(1), "abc"}, KindMalformed},
		{"no block hash", true, getWitnessKeysCode, []any{uint64(1)}, KindMalformed},
		{"more fields", true, getWitnessKeysCode, []any{uint64(1), common.Hash{1}, uint64(3)}, KindMalformed},
		{"request that is no list", true, getWitnessKeysCode, "abc", KindMalformed},
		{"unrequested hashes", false, witnessHashesCode, []any{uint64(1), []uint{}}, KindUnrequested},
		{"unrequested keys", true, witnessKeysCode, []any{uint64(1), []uint{}}, KindUnrequested},
		{"oversize", true, witnessKeysCode, make([]byte, maxMessageSize), KindOversize},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := chain.serving()
			cfg.Witnesses, cfg.Data = testWitnesses{}, newEmptyChain()
			h := newRawPeer(t, 71, chain, cfg)
			rw := h.wit
			if test.beam {
				rw = h.beam
			}
			send(rw, test.code, test.packet)
			wantProtocolError(t, <-h.over, test.kind)
		})
	}
}

func TestWitnessInvalidReplies(t *testing.T) {
	chain := newTestChain(t)
	tests := []struct {
		name   string
		beam   bool
		fields []any // fields behind the request id
		kind   Kind
	}{
		{"too many hashes", false, []any{make([]common.Hash, maxWitnessHashes+1)}, KindExcess},
		{"short hash", false, []any{[]string{"abc"}}, KindMalformed},
		{"hashes that are no list", false, []any{"abc"}, KindMalformed},
		{"no hashes", false, nil, KindMalformed},
		{"too many keys", true, []any{make([]common.Hash, MaxWitnessKeys/33+1)}, KindExcess},
		{"keys that are no list", true, []any{"abc"}, KindMalformed},
		{"no keys", true, nil, KindMalformed},
		{"keys twice", true, []any{[]uint{1}, []uint{1}}, KindMalformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := newRawPeer(t, 71, chain, PeerConfig{NetworkID: 7, Chain: chain})
			result := make(chan error, 1)
			rw, request, reply := h.wit, uint64(getWitnessHashesCode), uint64(witnessHashesCode)
			if test.beam {
				rw, request, reply = h.beam, getWitnessKeysCode, witnessKeysCode
			}
			go func() {
				var err error
				if test.beam {
					_, err = h.peer.WitnessKeys(testContext(t), common.Hash{1})
				} else {
					_, err = h.peer.WitnessHashes(testContext(t), common.Hash{1})
				}
				result <- err
			}()
			send(rw, reply, append([]any{readRequest(t, rw, request)}, test.fields...))
			wantProtocolError(t, <-result, test.kind)
			wantProtocolError(t, <-h.over, test.kind)
		})
	}
}

// TestWitnessFlood: a peer that sends requests faster than they are answered is disconnected, and
// the node's own requests to it continue until then.
func TestWitnessFlood(t *testing.T) {
	chain := newTestChain(t)
	slow := testWitnesses{make(chan struct{})}
	cfg := chain.serving()
	cfg.Witnesses = slow
	h := newRawPeer(t, 71, chain, cfg)
	defer close(slow.release) // before the cleanups
	send(h.wit, getWitnessHashesCode, &getWitnessPacket{1, common.Hash{3}})
	for range maxQueued {
		send(h.beam, getWitnessKeysCode, &getWitnessPacket{1, common.Hash{1}})
	}
	result := make(chan error, 1)
	go func() { _, err := h.peer.Headers(testContext(t), common.Hash{}, 1, true); result <- err }()
	send(h.eth, eth.BlockHeadersMsg, []any{readRequest(t, h.eth, eth.GetBlockHeadersMsg), []uint{}})
	if err := <-result; err != nil {
		t.Fatalf("our request while the peer floods: %v", err)
	}
	for range 2 {
		send(h.beam, getWitnessKeysCode, &getWitnessPacket{1, common.Hash{1}})
	}
	<-h.peer.Done()
	wantProtocolError(t, h.peer.err, KindFlood)
}

// TestWitnessHosts: hosts agree on both capabilities when both offer them, and on neither
// when one does not.
func TestWitnessHosts(t *testing.T) {
	chain := newTestChain(t)
	serverCfg, _, _ := hostConfig(t, chain)
	serverCfg.Witnesses = testWitnesses{}
	server, _ := startHost(t, serverCfg)
	for _, witnesses := range []Witnesses{testWitnesses{}, nil} {
		clientCfg, joined, _ := hostConfig(t, chain)
		clientCfg.ListenAddr = ""
		clientCfg.StaticNodes = []*enode.Node{server.Self()}
		clientCfg.Witnesses = witnesses
		client, stop := startHost(t, clientCfg)
		p := receive(t, "join at the client", joined)
		if witnesses != nil {
			checkWitnesses(t, p)
			equal(t, "what admin_peers says", client.PeersInfo()[0].Protocols["beam"], any(&SatelliteInfo{Version: beamVersion}))
		} else if p.ServesWitnessHashes() || p.ServesWitnessKeys() || !p.ServesState() {
			t.Error("agreed on what one end does not offer")
		}
		checkStateRequests(t, p, chain)
		checkChainRequests(t, p, chain)
		stop()
	}
}
