// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus/beacon"
	"github.com/ethereum/go-ethereum/consensus/ethash"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/types/bal"
	"github.com/ethereum/go-ethereum/crypto"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/rlp"
	gethtrie "github.com/ethereum/go-ethereum/trie"
	"github.com/ethereum/go-ethereum/triedb/database"

	"github.com/sunbeam-eth/sunbeam/internal/testchain"
	"github.com/sunbeam-eth/sunbeam/trie"
)

const testBlocks = 140 // more than the 128 states that go-ethereum keeps

var (
	testSender  = testchain.Address(1)
	testStorer  = common.HexToAddress("0x5704e4") // contract with storage
	testEmitter = common.HexToAddress("0x106106") // contract that logs
)

// testChain is go-ethereum's chain as the backends of a Peer: the oracle serves.
type testChain struct {
	*core.BlockChain
	slots [2]common.Hash // of testStorer, whose leaves are embedded in their parent
}

func (c testChain) Header(hash common.Hash) *types.Header      { return c.GetHeaderByHash(hash) }
func (c testChain) HeaderByNumber(number uint64) *types.Header { return c.GetHeaderByNumber(number) }
func (c testChain) Block(hash common.Hash) *types.Block        { return c.GetBlockByHash(hash) }
func (c testChain) Receipts(hash common.Hash) types.Receipts   { return c.GetReceiptsByHash(hash) }
func (c testChain) AccessList(hash common.Hash) rlp.RawValue   { return c.GetAccessListRLP(hash) }
func (c testChain) Oldest() uint64                             { return 0 }
func (c testChain) Code(hash common.Hash) []byte               { return c.ContractCodeWithPrefix(hash) }
func (c testChain) hash(number uint64) common.Hash             { return c.GetCanonicalHash(number) }

// nodeOf is the node at a path according to go-ethereum.
func (c testChain) nodeOf(root, owner common.Hash, path []byte) []byte {
	id := gethtrie.StateTrieID(root)
	if owner != (common.Hash{}) {
		accounts, err := gethtrie.NewStateTrie(id, c.TrieDB())
		if err != nil {
			return nil
		}
		account, err := accounts.GetAccountByHash(owner)
		if err != nil || account == nil {
			return nil
		}
		id = gethtrie.StorageTrieID(root, owner, account.Root)
	}
	tr, err := gethtrie.New(id, c.TrieDB())
	if err != nil {
		return nil
	}
	blob, _, err := tr.GetNode(compact(path))
	if err != nil {
		return nil
	}
	return blob
}

// State is package trie's implementation over go-ethereum's store.
func (c testChain) State(root common.Hash) State {
	reader, err := c.TrieDB().NodeReader(root)
	if err != nil {
		return nil
	}
	if state := trie.OpenServed(layers{reader}, nil, root); state != nil {
		return state
	}
	return nil
}

// layers is a state of go-ethereum's database as a trie.Store.
type layers struct{ database.NodeReader }

func (layers) Code(common.Hash) ([]byte, error) { return nil, nil }

// Data finds codes, and the account trie's nodes of the head.
func (c testChain) Data(hash common.Hash) []byte {
	if code := c.Code(hash); code != nil {
		return code
	}
	accounts, err := gethtrie.NewStateTrie(gethtrie.StateTrieID(c.CurrentHeader().Root), c.TrieDB())
	if err != nil {
		return nil
	}
	it, err := accounts.NodeIterator(nil)
	if err != nil {
		return nil
	}
	for it.Next(true) {
		if it.Hash() == hash {
			return it.NodeBlob()
		}
	}
	return nil
}

// compact is the hex-prefix encoding of a path without terminator.
func compact(path []byte) []byte {
	out := make([]byte, 1, len(path)/2+1)
	if len(path)%2 == 1 {
		out[0] = 0x10 | path[0]
		path = path[1:]
	}
	for i := 0; i < len(path); i += 2 {
		out = append(out, path[i]<<4|path[i+1])
	}
	return out
}

// hexKey is the path of a key: 64 nibbles.
func hexKey(key common.Hash) []byte {
	path := make([]byte, 0, 64)
	for _, b := range key {
		path = append(path, b>>4, b&0x0f)
	}
	return path
}

var builtChain = sync.OnceValues(buildChain)

// newTestChain returns the chain that all tests share. Call it outside of bubbles.
func newTestChain(t testing.TB) testChain {
	t.Helper()
	chain, err := builtChain()
	if err != nil {
		t.Fatalf("build test chain: %v", err)
	}
	return chain
}

func buildChain() (testChain, error) {
	storage := make(map[common.Hash]common.Hash)
	for i := range 300 {
		storage[common.BigToHash(big.NewInt(int64(i)))] = crypto.Keccak256Hash([]byte{byte(i), byte(i >> 8)})
	}
	embedded := embeddedSlots()
	for _, slot := range embedded {
		storage[slot] = common.Hash{31: 1}
	}
	made := testchain.New(testchain.Genesis(nil, testchain.Funded(1), testchain.Filler(1500), types.GenesisAlloc{
		testStorer:  {Code: []byte{0x5f, 0x35, 0x43, 0x55, 0x00}, Storage: storage, Balance: common.Big1}, // sstore(number, calldata): new slots
		testEmitter: {Code: common.FromHex("602a5f60405fa100"), Balance: common.Big1},                     // log1(0, 64, topic 0), 42 below
	}))
	blocks, _ := made.Extend(made.Root(), testBlocks, func(i int, b *testchain.Block) {
		if i == 0 {
			return // an empty block
		}
		for n, to := range []common.Address{testStorer, testEmitter, common.BigToAddress(big.NewInt(int64(0x2000000 + i)))} {
			b.Call(to, int64(n), binary.BigEndian.AppendUint64(nil, uint64(i)))
		}
	})
	db := rawdb.NewMemoryDatabase()
	//nolint:forbidigo // the oracle holds the whole state
	chain, err := core.NewBlockChain(db, made.Genesis, beacon.New(ethash.NewFaker()), &core.BlockChainConfig{StateScheme: rawdb.PathScheme, TrieTimeLimit: 5 * time.Minute, NoPrefetch: true})
	if err != nil {
		return testChain{}, err
	}
	if _, err := chain.InsertChain(blocks); err != nil {
		return testChain{}, err
	}
	for _, block := range blocks[:10] { // access lists as they would come in payloads
		enc, err := rlp.EncodeToBytes(&bal.BlockAccessList{{Address: testStorer}})
		if err != nil {
			return testChain{}, err
		}
		rawdb.WriteAccessListRLP(db, block.Hash(), block.NumberU64(), enc)
	}
	return testChain{chain, embedded}, nil
}

// embeddedSlots finds two storage slots whose hashes share eight nibbles: with values of
// one byte their leaves take less than 32 bytes and have no hash of their own.
func embeddedSlots() [2]common.Hash {
	seen := make(map[[4]byte]common.Hash)
	for i := int64(1_000_000); ; i++ {
		slot := common.BigToHash(big.NewInt(i))
		prefix := [4]byte(crypto.Keccak256(slot[:])[:4])
		if other, ok := seen[prefix]; ok {
			return [2]common.Hash{other, slot}
		}
		seen[prefix] = slot
	}
}

// serving is the configuration of a peer that serves the whole test chain.
func (c testChain) serving() PeerConfig {
	return PeerConfig{NetworkID: 7, Chain: c, State: c, Data: c, Gate: NewGate(2, nil)}
}

// connected is two Peers with a pipe per protocol between them.
type connected struct {
	client, server       *Peer
	clientErr, serverErr chan error // results of Run
}

// connect runs two peers and waits until both have joined. They end with the test.
func connect(t testing.TB, version uint, withSnap bool, client, server PeerConfig) connected {
	t.Helper()
	c := connected{clientErr: make(chan error, 1), serverErr: make(chan error, 1)}
	links := [2]Link{{ID: "server", Version: version}, {ID: "client", Version: version}}
	a, b := gethp2p.MsgPipe()
	links[0].Eth, links[1].Eth = a, b
	if withSnap {
		a, b := gethp2p.MsgPipe()
		links[0].Snap, links[1].Snap = a, b
	}
	if client.Witnesses != nil && server.Witnesses != nil { // as hosts offer them
		a, b := gethp2p.MsgPipe()
		links[0].Wit, links[1].Wit = a, b
		a, b = gethp2p.MsgPipe()
		links[0].Beam, links[1].Beam = a, b
	}
	joined := make(chan struct{}, 2)
	ctx, cancel := context.WithCancel(t.Context())
	run := func(link Link, cfg PeerConfig, result chan error) *Peer {
		onJoin := cfg.OnJoin
		cfg.OnJoin = func(p *Peer) {
			if onJoin != nil {
				onJoin(p)
			}
			joined <- struct{}{}
		}
		p := NewPeer(link, cfg)
		go func() { result <- p.Run(ctx); close(result) }()
		return p
	}
	c.client = run(links[0], client, c.clientErr)
	c.server = run(links[1], server, c.serverErr)
	t.Cleanup(func() {
		cancel()
		for range c.clientErr {
		}
		for range c.serverErr {
		}
	})
	for range 2 {
		select {
		case <-joined:
		case err := <-c.clientErr:
			t.Fatalf("client did not join: %v", err)
		case err := <-c.serverErr:
			t.Fatalf("server did not join: %v", err)
		}
	}
	return c
}

// wantProtocolError fails the test unless err is a protocol error of that kind.
func wantProtocolError(t testing.TB, err error, kind Kind) {
	t.Helper()
	var fault *ProtocolError
	if !errors.As(err, &fault) {
		t.Fatalf("got %v, want a fault %q", err, kind)
	}
	if fault.Kind != kind {
		t.Fatalf("got fault %v, want kind %q", fault, kind)
	}
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func equal[T any](t testing.TB, what string, got, want T) {
	t.Helper()
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
		t.Fatalf("%s: got %.300s, want %.300s", what, g, w)
	}
}
