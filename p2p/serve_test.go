// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	"github.com/ethereum/go-ethereum/eth/protocols/snap"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/rlp"
)

// TestServeLikeGeth compares our answers with those of go-ethereum's server for the same
// requests on the same chain.
func TestServeLikeGeth(t *testing.T) {
	chain := newTestChain(t)
	p := NewPeer(Link{ID: "p", Version: 71}, chain.serving())
	asker := eth.NewPeer(71, gethp2p.NewPeer(enode.ID{1}, "asker", nil), nil, nil, nil, chain.Config()) // for geth's log
	defer asker.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	hash := func() common.Hash {
		if rng.IntN(20) == 0 {
			return common.Hash{1}
		}
		return chain.hash(rng.Uint64N(testBlocks + 1))
	}
	for range 1500 {
		query := randomHeaderQuery(rng, hash)
		copied := *query
		want := eth.ServiceGetBlockHeadersQuery(chain.BlockChain, &copied, asker)
		got, err := p.serveHeaders(&eth.GetBlockHeadersPacket{GetBlockHeadersRequest: query})
		if err != nil {
			t.Fatal(err)
		}
		sameList(t, query, got.(*eth.BlockHeadersRLPPacket).BlockHeadersRLPResponse, want)
	}
	for range 200 {
		hashes := make([]common.Hash, rng.IntN(30))
		for i := range hashes {
			hashes[i] = hash()
		}
		bodies, err := p.serveBodies(&eth.GetBlockBodiesPacket{GetBlockBodiesRequest: hashes})
		if err != nil {
			t.Fatal(err)
		}
		sameList(t, hashes, bodies.(*eth.BlockBodiesRLPPacket).BlockBodiesRLPResponse, eth.ServiceGetBlockBodiesQuery(chain.BlockChain, hashes))
		receipts, err := p.serveReceipts69(&eth.GetReceiptsPacket69{GetReceiptsRequest: hashes})
		if err != nil {
			t.Fatal(err)
		}
		want := eth.ServiceGetReceiptsQuery69(chain.BlockChain, hashes)
		got, _ := rlp.EncodeToBytes(receipts.(*receiptsReply69).List)
		if !bytes.Equal(got, want.Bytes()) {
			t.Fatalf("receipts of %x:\ngot  %x\nwant %x", hashes, got, want.Bytes())
		}
	}
}

func randomHeaderQuery(rng *rand.Rand, hash func() common.Hash) *eth.GetBlockHeadersRequest {
	query := &eth.GetBlockHeadersRequest{Amount: rng.Uint64N(80), Reverse: rng.IntN(2) == 0}
	if rng.IntN(8) == 0 {
		query.Amount = 1 << 62 // above, go-ethereum's counter overflows
	}
	switch rng.IntN(4) {
	case 0:
		query.Skip = rng.Uint64N(10)
	case 1:
		query.Skip = math.MaxUint64 - rng.Uint64N(200)
	}
	query.Origin.Number = rng.Uint64N(testBlocks + 5)
	if query.Reverse { // go-ethereum starts at the head when requested ancestors of what it lacks
		query.Origin.Number = min(query.Origin.Number, testBlocks)
	}
	if rng.IntN(2) == 0 {
		query.Origin = eth.HashOrNumber{Hash: hash()}
	}
	return query
}

func sameList[T ~[]byte](t *testing.T, query any, got, want []T) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%+v: %d items, want %d", query, len(got), len(want))
	}
	for i := range got {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("%+v: item %d: got %x, want %x", query, i, got[i], want[i])
		}
	}
}

func TestServeStateLikeGeth(t *testing.T) {
	chain := newTestChain(t)
	p := NewPeer(Link{ID: "p", Version: 71}, chain.serving())
	rng := rand.New(rand.NewPCG(3, 4))
	storer := crypto.Keccak256Hash(testStorer[:])
	for range 500 {
		root := chain.Header(chain.hash(testBlocks - rng.Uint64N(135))).Root
		var sets []snap.TrieNodePathSet
		for range rng.IntN(20) {
			sets = append(sets, randomPathSet(rng, storer))
		}
		paths, err := rlp.EncodeToRawList(sets)
		if err != nil {
			t.Fatal(err)
		}
		query := snap.GetTrieNodesPacket{Root: root, Paths: paths, Bytes: rng.Uint64N(20_000)}
		copied := query
		want, err := snap.ServiceGetTrieNodesQuery(chain.BlockChain, &copied)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.serveTrieNodes(&query)
		if err != nil {
			t.Fatal(err)
		}
		sameList(t, sets, got.(*snap.TrieNodesPacket).Nodes, want)
	}

	code := crypto.Keccak256Hash([]byte{0x5f, 0x35, 0x43, 0x55, 0x00})
	for _, limit := range []uint64{0, 1, 9, 10, 11, 1 << 40} {
		hashes := []common.Hash{types.EmptyCodeHash, {1}, code, code, types.EmptyCodeHash, code, types.EmptyRootHash}
		got, _ := p.serveByteCodes(&snap.GetByteCodesPacket{Hashes: hashes, Bytes: limit})
		sameList(t, limit, got.(*snap.ByteCodesPacket).Codes, snap.ServiceGetByteCodesQuery(chain.BlockChain, &snap.GetByteCodesPacket{Hashes: hashes, Bytes: limit}))
	}
}

// randomPathSet omits what go-ethereum answers differently: terminated paths, accounts
// without storage and embedded nodes.
func randomPathSet(rng *rand.Rand, storer common.Hash) snap.TrieNodePathSet {
	path := func() []byte {
		nibbles := make([]byte, rng.IntN(5))
		for i := range nibbles {
			nibbles[i] = byte(rng.IntN(16))
		}
		return compact(nibbles)
	}
	switch rng.IntN(6) {
	case 0:
		set := snap.TrieNodePathSet{storer[:]}
		for range 1 + rng.IntN(6) {
			set = append(set, path())
		}
		return set
	case 1:
		return snap.TrieNodePathSet{{1}, path(), path()} // no such account
	case 2:
		return snap.TrieNodePathSet{make([]byte, rng.IntN(60))} // up to nonsensically long
	}
	return snap.TrieNodePathSet{path()}
}

func TestTrieNodeLimits(t *testing.T) {
	chain := newTestChain(t)
	p := NewPeer(Link{ID: "p", Version: 71}, chain.serving())
	root := chain.CurrentHeader().Root
	storer := crypto.Keccak256Hash(testStorer[:])
	wide := snap.TrieNodePathSet{storer[:]}
	for range 1500 {
		wide = append(wide, []byte{0xff}) // terminated: an empty entry, no lookup at the backend
	}
	for name, sets := range map[string][]snap.TrieNodePathSet{
		"sets":  repeat(snap.TrieNodePathSet{{0x1f, 0xff, 0xff}}, 3000),
		"paths": {wide},
		"owner": repeat(snap.TrieNodePathSet{{1}, {0}}, 3000),
	} {
		paths, err := rlp.EncodeToRawList(sets)
		if err != nil {
			t.Fatal(err)
		}
		lookup := &countingState{testChain: chain}
		p.cfg.State = lookup
		reply, err := p.serveTrieNodes(&snap.GetTrieNodesPacket{Root: root, Paths: paths, Bytes: math.MaxUint64})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(reply.(*snap.TrieNodesPacket).Nodes); n > maxLookups || lookup.count > maxLookups {
			t.Errorf("%s: %d entries after %d lookups", name, n, lookup.count)
		}
	}
}

type countingState struct {
	testChain
	count int
}

func (s *countingState) State(root common.Hash) State {
	return &countedState{s.testChain.State(root), &s.count}
}

type countedState struct {
	State
	count *int
}

func (s *countedState) TrieNode(owner common.Hash, path []byte) []byte {
	*s.count++
	return s.State.TrieNode(owner, path)
}

// sideChain adds headers that are not canonical.
type sideChain struct {
	testChain
	side map[common.Hash]*types.Header
}

func (c sideChain) Header(hash common.Hash) *types.Header {
	if h := c.side[hash]; h != nil {
		return h
	}
	return c.testChain.Header(hash)
}

func TestSideHeaders(t *testing.T) {
	chain := newTestChain(t)
	side := sideChain{chain, make(map[common.Hash]*types.Header)}
	parent := chain.hash(100)
	var hashes []common.Hash
	for number := int64(101); number <= 110; number++ {
		header := types.CopyHeader(chain.HeaderByNumber(uint64(number)))
		header.ParentHash, header.Extra = parent, []byte("side")
		parent = header.Hash()
		side.side[parent] = header
		hashes = append(hashes, parent)
	}
	cfg := chain.serving()
	cfg.Chain = side
	p := NewPeer(Link{ID: "p", Version: 71}, cfg)
	tests := []struct {
		skip    uint64
		reverse bool
		amount  uint64
		want    []common.Hash
	}{
		{0, true, 4, []common.Hash{hashes[9], hashes[8], hashes[7], hashes[6]}},
		{4, true, 4, []common.Hash{hashes[9], hashes[4], chain.hash(100), chain.hash(95)}},
		{0, false, 4, []common.Hash{hashes[9]}},
		{3, false, 4, []common.Hash{hashes[9]}},
	}
	for _, test := range tests {
		got, err := p.serveHeaders(&eth.GetBlockHeadersPacket{GetBlockHeadersRequest: &eth.GetBlockHeadersRequest{
			Origin: eth.HashOrNumber{Hash: hashes[9]}, Amount: test.amount, Skip: test.skip, Reverse: test.reverse,
		}})
		if err != nil {
			t.Fatal(err)
		}
		var have []common.Hash
		for _, enc := range got.(*eth.BlockHeadersRLPPacket).BlockHeadersRLPResponse {
			have = append(have, crypto.Keccak256Hash(enc))
		}
		equal(t, "hashes", have, test.want)
	}
}
