// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/big"
	"runtime"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/forkid"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	"github.com/ethereum/go-ethereum/eth/protocols/snap"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/rlp"
)

// The targets of this file take one message each. What is accepted encodes to the same bytes again and is within
// the message's limits; everything else is a protocol error; memory stays in proportion to the input.

// maxFuzzed limits inputs, so that one does not take long.
const maxFuzzed = 64 << 10

// bounded runs decode, which must not allocate out of proportion to an input. It may run it twice: garbage of other
// goroutines counts as well.
func bounded(t *testing.T, input []byte, decode func()) {
	t.Helper()
	limit := uint64(256<<10 + 128*len(input))
	var used uint64
	for range 2 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		decode()
		runtime.ReadMemStats(&after)
		if used = after.TotalAlloc - before.TotalAlloc; used <= limit {
			return
		}
	}
	t.Fatalf("%d bytes allocated for an input of %d", used, len(input))
}

// onlyViolation fails the test if an error is none of the protocol.
func onlyViolation(t *testing.T, err error) {
	t.Helper()
	var violation *ProtocolError
	if err != nil && (!errors.As(err, &violation) || violation.Error() == "") {
		t.Fatalf("%v is no protocol error", err)
	}
}

// sameAgain fails the test unless packet encodes to payload.
func sameAgain(t *testing.T, payload []byte, packet any) {
	t.Helper()
	again, err := rlp.EncodeToBytes(packet)
	if err != nil || !bytes.Equal(again, payload) {
		t.Fatalf("%x was accepted, encodes to %x (%v): %+v", payload, again, err, packet)
	}
}

func addPackets(f *testing.F, packets ...any) {
	f.Helper()
	for _, packet := range packets {
		enc, err := rlp.EncodeToBytes(packet)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(enc)
	}
}

// recording is a stream that keeps the last message, and has one to read.
type recording struct {
	incoming gethp2p.Msg
	last     []byte
}

func (r *recording) ReadMsg() (gethp2p.Msg, error) { return r.incoming, nil }

func (r *recording) WriteMsg(msg gethp2p.Msg) (err error) {
	r.last, err = io.ReadAll(msg.Payload)
	return err
}

func FuzzHave(f *testing.F) {
	addPackets(f, &havePacket{}, &havePacket{
		Number: 1 << 40, Root: common.Hash{1}, Since: 1700000000000, Active: true, Accounts: [32]byte{0x80},
		Large: []largePacket{{common.Hash{1}, [32]byte{1}}, {common.Hash{1}, [32]byte{2}}},
	}, &havePacket{Large: make([]largePacket, maxLarge+1)})
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) > maxFuzzed {
			return
		}
		var p *Peer
		var err error
		bounded(t, payload, func() {
			p = NewPeer(Link{ID: "fuzz", Version: eth.ETH71}, PeerConfig{})
			err = p.handleHave(payload)
		})
		onlyViolation(t, err)
		have := p.Have()
		if err != nil {
			if have.Number != 0 || have.Large != nil {
				t.Fatalf("rejected (%v), but kept: %+v", err, have)
			}
			return
		}
		if len(have.Large) > maxLarge || len(have.Large) != len(have.LargeSlices) {
			t.Fatalf("%d large tries with %d sets of slices", len(have.Large), len(have.LargeSlices))
		}
		swarm, stream := newTestSwarm(), new(recording)
		swarm.have.Store(&have)
		sender := NewPeer(Link{ID: "sender", Version: eth.ETH71, Beam: stream}, PeerConfig{Swarm: swarm})
		if err := sender.announceHave(t.Context()); err != nil || !bytes.Equal(stream.last, payload) {
			t.Fatalf("%x was accepted, announced as %x: %v", payload, stream.last, err)
		}
	})
}

// askedSwarm records what it is asked for. The first byte of a hash is the number of leaves of the subtree, the second
// one says whether it is cut.
type askedSwarm struct {
	*testSwarm
	asked []wireSubtree
}

func (s *askedSwarm) Subtree(owner common.Hash, path []byte, hash common.Hash, maxBytes int) (keys []common.Hash, values, proof [][]byte) {
	s.asked = append(s.asked, wireSubtree{owner, compactPath(path), hash})
	for i := range min(int(hash[0]), maxBytes/64) {
		keys, values = append(keys, common.Hash{byte(i)}), append(values, bytes.Repeat([]byte{1}, 32))
	}
	if hash[1] == 1 {
		proof = [][]byte{{0xc0}}
	}
	return keys, values, proof
}

func FuzzGetSubtrees(f *testing.F) {
	addPackets(f, &getSubtreesPacket{ID: 7, Bytes: 1 << 20, Subtrees: []wireSubtree{
		{common.Hash{1}, compactPath([]byte{1, 2}), common.Hash{3}}, {common.Hash{}, compactPath(nil), common.Hash{0xff}}, {common.Hash{2}, compactPath([]byte{15}), common.Hash{1, 1}},
	}}, &getSubtreesPacket{Bytes: 1 << 63, Subtrees: make([]wireSubtree, 300)}, &getSubtreesPacket{Subtrees: []wireSubtree{{Path: []byte{0x21}}}})
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) > maxFuzzed {
			return
		}
		swarm := &askedSwarm{testSwarm: newTestSwarm()}
		p := NewPeer(Link{ID: "fuzz", Version: eth.ETH71}, PeerConfig{Swarm: swarm})
		_, reply, err := p.reply(incoming{msgGetSubtrees, payload})
		onlyViolation(t, err)
		if err != nil {
			return
		}
		answer := reply.(*subtreesPacket)
		if len(answer.Leaves) != len(swarm.asked) || len(answer.Leaves) > maxSubtrees {
			t.Fatalf("%d subtrees served, %d looked up", len(answer.Leaves), len(swarm.asked))
		}
		size := 0
		for _, leaves := range answer.Leaves {
			for _, leaf := range leaves {
				size += common.HashLength + len(leaf.Body)
			}
		}
		var request getSubtreesPacket // what was looked up is what was requested, from the first one on
		if err := rlp.DecodeBytes(payload, &request); err == nil {
			if answer.ID != request.ID || size > int(min(request.Bytes, softReplySize)) {
				t.Fatalf("%d bytes for request %+v", size, request)
			}
			for i, asked := range swarm.asked {
				path, ok := nibbles(request.Subtrees[i].Path)
				if want := request.Subtrees[i]; !ok || asked.Owner != want.Owner || asked.Hash != want.Hash || !bytes.Equal(asked.Path, compactPath(path)) {
					t.Fatalf("looked up %+v for %+v", asked, want)
				}
			}
		}
	})
}

// fuzzReply answers do's request, which expects a message, with the fields that come after the request id. It returns the
// payload that was answered.
func fuzzReply(t *testing.T, expect message, version uint, fields []byte, do func(p *Peer) error) (payload []byte, err error) {
	t.Helper()
	bounded(t, fields, func() {
		var p *Peer
		stream := answering{func(id uint64) {
			if payload, err = rlp.MergeListValues([][]byte{rlp.AppendUint64(nil, id), fields}); err == nil {
				p.inFlight.deliver(id, expect, payload)
			}
		}}
		p = NewPeer(Link{ID: "fuzz", Version: version, Eth: stream, Beam: stream}, PeerConfig{})
		err = do(p)
	})
	onlyViolation(t, err)
	return payload, err
}

// addFields adds the fields of a packet after the request id.
func addFields(f *testing.F, packet any) {
	f.Helper()
	enc, err := rlp.EncodeToBytes(packet)
	if err != nil {
		f.Fatal(err)
	}
	content, _, err := rlp.SplitList(enc)
	if err != nil {
		f.Fatal(err)
	}
	_, _, fields, err := rlp.Split(content)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(fields)
}

func FuzzSubtrees(f *testing.F) {
	requested := []Subtree{{Owner: common.Hash{1}, Path: []byte{1}}, {Owner: common.Hash{2}}, {}}
	account := types.SlimAccountRLP(*types.NewEmptyStateAccount())
	two := []*snap.StorageData{{Hash: common.Hash{1}, Body: []byte{1}}, {Hash: common.Hash{2}, Body: []byte{2}}}
	addFields(f, &subtreesPacket{Leaves: [][]*snap.StorageData{two, nil, {{Hash: common.Hash{9}, Body: account}}}})
	addFields(f, &subtreesPacket{Leaves: [][]*snap.StorageData{two[:1], two[1:]}, Proof: [][]byte{{0xc0}, {1}}})
	addFields(f, &subtreesPacket{Leaves: [][]*snap.StorageData{{two[1], two[0]}}})
	addFields(f, &subtreesPacket{Leaves: make([][]*snap.StorageData, 4), Proof: make([][]byte, maxProof+1)})
	f.Fuzz(func(t *testing.T, fields []byte) {
		if len(fields) > maxFuzzed {
			return
		}
		var keys []([]common.Hash)
		var values [][][]byte
		var proof [][]byte
		payload, err := fuzzReply(t, msgSubtrees, eth.ETH71, fields, func(p *Peer) (err error) {
			keys, values, proof, err = p.Subtrees(context.Background(), requested, 1<<20)
			return err
		})
		if err != nil {
			return
		}
		if len(keys) > len(requested) || len(proof) > maxProof {
			t.Fatalf("%d subtrees, %d nodes of proof", len(keys), len(proof))
		}
		id, _ := requestID(payload, uint32(len(payload)))
		again := &subtreesPacket{ID: id, Proof: proof, Leaves: make([][]*snap.StorageData, len(keys))}
		for i, list := range keys {
			if len(values[i]) != len(list) || !slices.IsSortedFunc(list, common.Hash.Cmp) {
				t.Fatalf("%d keys, %d values: %x", len(list), len(values[i]), list)
			}
			for k, key := range list {
				again.Leaves[i] = append(again.Leaves[i], &snap.StorageData{Hash: key, Body: values[i][k]})
			}
			if requested[i].Owner == accountTrie {
				for _, value := range values[i] {
					var account types.StateAccount
					if err := rlp.DecodeBytes(value, &account); err != nil {
						t.Fatalf("%x is no account: %v", value, err)
					}
					sameAgain(t, value, &account)
				}
				return // the slim encoding of an account is not unique
			}
		}
		sameAgain(t, payload, again)
	})
}

func FuzzWitnessKeys(f *testing.F) {
	addFields(f, &witnessKeysPacket{Keys: rlp.EmptyList})
	addFields(f, &witnessKeysPacket{Keys: rlp.RawValue{0xc2, 0xc0, 0xc0}})
	addFields(f, &witnessKeysPacket{Keys: rlp.RawValue{0x05}})
	f.Fuzz(func(t *testing.T, fields []byte) {
		if len(fields) > maxFuzzed {
			return
		}
		var keys rlp.RawValue
		payload, err := fuzzReply(t, msgWitnessKeys, eth.ETH71, fields, func(p *Peer) (err error) {
			keys, err = p.WitnessKeys(context.Background(), common.Hash{1})
			return err
		})
		if err != nil {
			return
		}
		if keys == nil {
			keys = rlp.EmptyList
		}
		id, _ := requestID(payload, uint32(len(payload)))
		sameAgain(t, payload, &witnessKeysPacket{id, keys})
	})
}

// FuzzGetWitness takes a request for keys or hashes of a block.
func FuzzGetWitness(f *testing.F) {
	addPackets(f, &getWitnessPacket{1, common.Hash{1}}, &getWitnessPacket{1 << 63, common.Hash{}})
	f.Fuzz(func(t *testing.T, payload []byte) {
		for _, m := range []message{msgGetWitnessKeys, msgGetWitnessHashes} {
			var request *getWitnessPacket
			var err error
			p := NewPeer(Link{ID: "fuzz", Version: eth.ETH71}, PeerConfig{Witnesses: testWitnesses{}})
			bounded(t, payload, func() { request, err = decode[getWitnessPacket](p, m, payload) })
			onlyViolation(t, err)
			if err != nil {
				return
			}
			sameAgain(t, payload, request)
			if _, _, err := p.reply(incoming{m, payload}); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// countedData has items of any hash, as long as the hash's first byte says.
type countedData struct{ asked []common.Hash }

func (d *countedData) Data(hash common.Hash) []byte {
	d.asked = append(d.asked, hash)
	return bytes.Repeat([]byte{1}, int(hash[0]))
}

func FuzzGetNodeData(f *testing.F) {
	addPackets(f, &getNodeDataPacket{1, []common.Hash{{1}, {0}, {0xff}}}, &getNodeDataPacket{1 << 63, make([]common.Hash, MaxNodeData)},
		&getNodeDataPacket{2, slices.Repeat([]common.Hash{{1}}, MaxNodeData+1)}, []any{uint64(1), []string{"short"}})
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) > maxFuzzed {
			return
		}
		for _, m := range []message{msgGetNodeData, msgBeamGetNodeData} {
			data := new(countedData)
			p := NewPeer(Link{ID: "fuzz", Version: eth66}, PeerConfig{Data: data})
			_, reply, err := p.reply(incoming{m, payload})
			onlyViolation(t, err)
			if err != nil {
				continue
			}
			answer, size := reply.(*nodeDataPacket), 0
			for _, blob := range answer.Blobs {
				size += len(blob)
			}
			if len(answer.Blobs) > MaxNodeData || len(data.asked) > maxDataLookups || size > softReplySize+0xff {
				t.Fatalf("%d items of %d bytes after %d lookups", len(answer.Blobs), size, len(data.asked))
			}
			if len(answer.Blobs) < MaxNodeData && len(data.asked) < maxDataLookups && size < softReplySize {
				sameAgain(t, payload, &getNodeDataPacket{answer.ID, data.asked}) // all were looked up
			}
		}
	})
}

func FuzzNodeData(f *testing.F) {
	hashes := []common.Hash{{1}, {2}, {3}}
	addFields(f, &nodeDataPacket{Blobs: [][]byte{{1}, {0xc0, 0x80}, nil}})
	addFields(f, &nodeDataPacket{Blobs: make([][]byte, 4)})
	f.Fuzz(func(t *testing.T, fields []byte) {
		if len(fields) > maxFuzzed {
			return
		}
		for expect, version := range map[message]uint{msgNodeData: eth66, msgBeamNodeData: eth.ETH71} {
			var blobs [][]byte
			payload, err := fuzzReply(t, expect, version, fields, func(p *Peer) (err error) {
				blobs, err = p.NodeData(context.Background(), hashes)
				return err
			})
			if err != nil {
				continue
			}
			if len(blobs) > len(hashes) {
				t.Fatalf("%d items for %d hashes", len(blobs), len(hashes))
			}
			id, _ := requestID(payload, uint32(len(payload)))
			sameAgain(t, payload, &nodeDataPacket{id, blobs})
		}
	})
}

// FuzzStatus takes the first message of a peer.
func FuzzStatus(f *testing.F) {
	chain := newEmptyChain()
	seed := func(version uint, packet any) {
		enc, err := rlp.EncodeToBytes(packet)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(version), enc)
	}
	fork := forkid.NewIDWithChain(chain)
	good := eth.StatusPacket{
		ProtocolVersion: eth.ETH71, NetworkID: 7, Genesis: chain.genesis.Hash(), ForkID: fork, EarliestBlock: 3, LatestBlock: 1 << 40, LatestBlockHash: common.Hash{1},
	}
	reversed, other := good, good
	reversed.EarliestBlock = 1 << 41
	other.Genesis = common.Hash{1}
	seed(eth.ETH71, &good)
	seed(eth.ETH71, &reversed)
	seed(eth.ETH71, &other)
	seed(eth66, &status66{eth66, 7, new(big.Int).Lsh(common.Big1, 200), common.Hash{1}, chain.genesis.Hash(), fork})
	f.Fuzz(func(t *testing.T, version uint8, payload []byte) {
		if len(payload) > maxFuzzed {
			return
		}
		number := []uint{eth66, eth.ETH69, eth.ETH70, eth.ETH71}[version%4]
		if version >= eth66 && version <= eth.ETH71 {
			number = uint(version)
		}
		var p *Peer
		var err error
		bounded(t, payload, func() {
			stream := &recording{incoming: gethp2p.Msg{Code: eth.StatusMsg, Size: uint32(len(payload)), Payload: bytes.NewReader(payload)}}
			p = NewPeer(Link{ID: "fuzz", Version: number, Eth: stream}, PeerConfig{NetworkID: 7, Chain: chain})
			err = p.readStatus()
		})
		onlyViolation(t, err)
		remote := p.remote.Load()
		if (err == nil) != (remote != nil) {
			t.Fatalf("range %+v, error %v", remote, err)
		}
		if err != nil {
			return
		}
		if remote.EarliestBlock > remote.LatestBlock {
			t.Fatalf("range %+v", remote)
		}
		if number < eth.ETH69 {
			var old status66
			if err := rlp.DecodeBytes(payload, &old); err != nil || old.Genesis != chain.genesis.Hash() || old.NetworkID != 7 {
				t.Fatalf("accepted %+v, %v", old, err)
			}
			sameAgain(t, payload, &old)
			return
		}
		status, err := decodeStatus(number, payload)
		if err != nil || status.Genesis != chain.genesis.Hash() || status.NetworkID != 7 || uint(status.ProtocolVersion) != number {
			t.Fatalf("accepted %+v, %v", status, err)
		}
		sameAgain(t, payload, status)
	})
}

func FuzzBlockRange(f *testing.F) {
	addPackets(f, &eth.BlockRangeUpdatePacket{}, &eth.BlockRangeUpdatePacket{EarliestBlock: 1, LatestBlock: 1 << 63, LatestBlockHash: common.Hash{1}},
		&eth.BlockRangeUpdatePacket{EarliestBlock: 2, LatestBlock: 1, LatestBlockHash: common.Hash{1}})
	f.Fuzz(func(t *testing.T, payload []byte) {
		p := NewPeer(Link{ID: "fuzz", Version: eth.ETH71}, PeerConfig{})
		var err error
		bounded(t, payload, func() { err = p.updateRange(payload) })
		onlyViolation(t, err)
		remote := p.remote.Load()
		if (err == nil) != (remote != nil) {
			t.Fatalf("range %+v, error %v", remote, err)
		}
		if err == nil {
			if remote.EarliestBlock > remote.LatestBlock {
				t.Fatalf("range %+v", remote)
			}
			sameAgain(t, payload, remote)
		}
	})
}
