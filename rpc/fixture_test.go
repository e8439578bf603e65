// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"log/slog"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/core/vm/program"
	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/ethereum/go-ethereum/event"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rlp"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"

	"github.com/sunbeam-eth/sunbeam/beamsync/importer"
	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/internal/testchain"
	"github.com/sunbeam-eth/sunbeam/pool"
	"github.com/sunbeam-eth/sunbeam/trie"
)

var (
	_ Chain         = (*chain.Chain)(nil)
	_ Heads         = (*chain.Chain)(nil)
	_ StateDatabase = (*trie.StateDatabase)(nil)

	userKey  = key(1)
	userAddr = testchain.Address(1)

	counterAddr  = common.HexToAddress("0xc0") // counts its calls in slot 0 and emits a log
	readerAddr   = common.HexToAddress("0xc1") // reads many accounts and slots
	reverterAddr = common.HexToAddress("0xc2") // reverts with a reason
	hasherAddr   = common.HexToAddress("0xc3") // returns the hash of the block three before
	looperAddr   = common.HexToAddress("0xc4") // loops forever
	logTopic     = common.HexToHash("0x70")
)

const mainChainBlocks = 12

func key(n int) *ecdsa.PrivateKey { return testchain.Key(n) }

// fixtureChain is a chain with all its state, made by go-ethereum.
type fixtureChain struct {
	config   *params.ChainConfig
	genesis  *core.Genesis
	blocks   []*types.Block // by number
	receipts []types.Receipts
	db       ethdb.Database
}

// newFixtureChain extends a genesis by n blocks.
func newFixtureChain(genesis *core.Genesis, n int, fill func(i int, b *testchain.Block)) *fixtureChain {
	made := testchain.New(genesis)
	blocks, receipts := made.Extend(made.Root(), n, fill)
	return &fixtureChain{
		config: genesis.Config, genesis: genesis, db: made.DB,
		blocks: append([]*types.Block{made.Root()}, blocks...), receipts: append([]types.Receipts{nil}, receipts...),
	}
}

var mainChain = sync.OnceValue(func() *fixtureChain {
	genesis := testchain.Genesis(nil, testchain.Funded(1), mainChainAccounts(), mainChainContracts())
	genesis.Timestamp = 9000
	return newFixtureChain(genesis, mainChainBlocks, func(i int, b *testchain.Block) {
		b.SetCoinbase(common.Address{0xfe, 0xe0})
		for _, tx := range mainChainTxs(i, b, genesis.Config) {
			b.Send(userKey, tx)
		}
		if i%3 == 2 {
			b.AddWithdrawal(&types.Withdrawal{Validator: 7, Address: common.Address{0xaa}, Amount: 5})
		}
	})
})

func mainChainAccounts() types.GenesisAlloc {
	alloc := testchain.Filler(300)
	for i := range len(alloc) {
		account := alloc[testchain.FillerAddress(i)]
		account.Nonce = uint64(i)
		alloc[testchain.FillerAddress(i)] = account
	}
	return alloc
}

func mainChainContracts() types.GenesisAlloc {
	alloc := make(types.GenesisAlloc)
	slots := make(map[common.Hash]common.Hash)
	for i := range 200 {
		slots[common.BigToHash(big.NewInt(int64(i)))] = common.BigToHash(big.NewInt(int64(i) + 1000))
	}
	reader := program.New().Push(0)
	for i := range 6 {
		reader.Push(i*7).Op(vm.SLOAD, vm.ADD)
		reader.Push(testchain.FillerAddress(i).Bytes()).Op(vm.BALANCE, vm.ADD)
	}
	reader.Push(reverterAddr.Bytes()).Op(vm.EXTCODESIZE, vm.ADD)
	reader.Push(0).Op(vm.MSTORE).Return(0, 32)
	alloc[readerAddr] = types.Account{Code: reader.Bytes(), Storage: slots, Balance: common.Big1}

	counter := program.New().Push(0).Op(vm.SLOAD).Push(1).Op(vm.ADD, vm.DUP1).Push(0).Op(vm.SSTORE)
	counter.Push(0).Op(vm.MSTORE, vm.CALLER).Push(logTopic.Bytes()).Push(32).Push(0).Op(vm.LOG2, vm.STOP)
	alloc[counterAddr] = types.Account{Code: counter.Bytes(), Storage: map[common.Hash]common.Hash{{}: common.BigToHash(common.Big1)}}
	alloc[reverterAddr] = types.Account{Code: common.FromHex("7f08c379a0000000000000000000000000000000000000000000000000000000006000526020600452600a6024527f75736572206572726f7200000000000000000000000000000000000000000000604452604e6000fd")}
	hasher := program.New().Push(3).Op(vm.NUMBER, vm.SUB, vm.BLOCKHASH).Push(0).Op(vm.MSTORE).Return(0, 32)
	alloc[hasherAddr] = types.Account{Code: hasher.Bytes()}
	alloc[looperAddr] = types.Account{Code: []byte{byte(vm.JUMPDEST), byte(vm.PUSH1), 0, byte(vm.JUMP)}}
	return alloc
}

// mainChainTxs are the transactions of a block. Successive blocks have different types.
func mainChainTxs(i int, g *testchain.Block, config *params.ChainConfig) []types.TxData {
	nonce, price := g.TxNonce(userAddr), new(big.Int).Add(g.BaseFee(), big.NewInt(int64(i)*params.GWei+10))
	tip, chainID := big.NewInt(int64(i)*params.GWei/2), config.ChainID
	cap256, tip256 := uint256.MustFromBig(price), uint256.MustFromBig(tip)
	access := types.AccessList{{Address: counterAddr, StorageKeys: []common.Hash{{}}}}
	txs := []types.TxData{&types.DynamicFeeTx{ChainID: chainID, Nonce: nonce, To: &counterAddr, Gas: 100_000, GasFeeCap: price, GasTipCap: tip}}
	switch i % 6 {
	case 0:
		txs = append(txs, &types.LegacyTx{Nonce: nonce + 1, To: &common.Address{2}, Value: big.NewInt(12), Gas: 40_000, GasPrice: price})
	case 1:
		txs = append(txs, &types.AccessListTx{ChainID: chainID, Nonce: nonce + 1, To: &counterAddr, Gas: 100_000, GasPrice: price, AccessList: access})
	case 2:
		txs = append(txs, &types.LegacyTx{Nonce: nonce + 1, Gas: 200_000, GasPrice: price, Data: program.New().ReturnViaCodeCopy([]byte{1, 2, 3}).Bytes()})
	case 3:
		txs = append(txs, &types.BlobTx{ChainID: uint256.MustFromBig(chainID), Nonce: nonce + 1, To: common.Address{3}, Gas: 40_000, GasFeeCap: cap256, GasTipCap: tip256, BlobFeeCap: uint256.NewInt(params.GWei), BlobHashes: []common.Hash{{1, 5}}})
	case 4:
		auth, err := types.SignSetCode(key(2), types.SetCodeAuthorization{ChainID: *uint256.MustFromBig(chainID), Address: readerAddr, Nonce: uint64(i / 6)})
		if err != nil {
			panic(err)
		}
		txs = append(txs, &types.SetCodeTx{ChainID: uint256.MustFromBig(chainID), Nonce: nonce + 1, To: userAddr, Gas: 200_000, GasFeeCap: cap256, GasTipCap: tip256, AuthList: []types.SetCodeAuthorization{auth}})
	case 5:
		txs = append(txs, &types.DynamicFeeTx{ChainID: chainID, Nonce: nonce + 1, To: &reverterAddr, Gas: 100_000, GasFeeCap: price, GasTipCap: tip})
	}
	return txs
}

// fakeChain is a canonical chain in memory, of which a part is stored.
type fakeChain struct {
	w       *fixtureChain
	head    int
	oldest  int           // bodies and receipts
	tail    int           // headers
	final   int           // zero: not set
	pending *types.Header // stored header of a block that was not executed
	feed    event.Feed
	bad     []*types.Block
}

func newFakeChain() *fakeChain { return &fakeChain{w: mainChain(), head: mainChainBlocks} }

func (c *fakeChain) Config() *params.ChainConfig { return c.w.config }
func (c *fakeChain) Genesis() *types.Block       { return c.w.blocks[0] }
func (c *fakeChain) Oldest() uint64              { return uint64(c.oldest) }
func (c *fakeChain) Tail() uint64                { return uint64(c.tail) }

func (c *fakeChain) CurrentHeader() *types.Header { return c.w.blocks[c.head].Header() }

func (c *fakeChain) Safe() *types.Header { return c.Finalized() }

func (c *fakeChain) Finalized() *types.Header {
	if c.final == 0 {
		return nil
	}
	return c.w.blocks[c.final].Header()
}

func (c *fakeChain) IsBelowFinalized(header *types.Header) bool {
	return header.Number.Uint64() < uint64(c.final)
}

func (c *fakeChain) find(hash common.Hash, from int) *types.Block {
	for _, block := range c.w.blocks[from : c.head+1] {
		if block.Hash() == hash {
			return block
		}
	}
	return nil
}

func (c *fakeChain) Header(hash common.Hash) *types.Header {
	if block := c.find(hash, c.tail); block != nil {
		return block.Header()
	}
	if c.pending != nil && c.pending.Hash() == hash {
		return c.pending
	}
	return nil
}

func (c *fakeChain) HeaderByNumber(number uint64) *types.Header {
	if number < uint64(c.tail) || number > uint64(c.head) {
		return nil
	}
	return c.w.blocks[number].Header()
}

func (c *fakeChain) Status(hash common.Hash) chain.Status {
	if c.Block(hash) != nil {
		return chain.Executed
	}
	return chain.Unknown
}

func (c *fakeChain) BadBlocks() []*types.Block { return c.bad }

func (c *fakeChain) Block(hash common.Hash) *types.Block { return c.find(hash, c.oldest) }

func (c *fakeChain) BlockByNumber(number uint64) *types.Block {
	if number < uint64(c.oldest) || number > uint64(c.head) {
		return nil
	}
	return c.w.blocks[number]
}

func (c *fakeChain) Receipts(hash common.Hash) types.Receipts {
	if block := c.Block(hash); block != nil {
		return c.w.receipts[block.NumberU64()]
	}
	return nil
}

func (c *fakeChain) AccessList(common.Hash) rlp.RawValue { return nil }

func (c *fakeChain) Transaction(hash common.Hash) (*types.Transaction, common.Hash, uint64, uint64) {
	for _, block := range c.w.blocks[c.oldest : c.head+1] {
		for i, tx := range block.Transactions() {
			if tx.Hash() == hash {
				return tx, block.Hash(), block.NumberU64(), uint64(i)
			}
		}
	}
	return nil, common.Hash{}, 0, 0
}

func (c *fakeChain) SubscribeHead(ch chan<- chain.HeadEvent) event.Subscription {
	return c.feed.Subscribe(ch)
}

// fakeStates opens states whose every node is fetched from a database. It can fail the n-th fetch.
type fakeStates struct {
	db     ethdb.Database
	window uint64
	hang   bool          // fetches hang until their context ends
	delay  time.Duration // of each fetch

	mu      sync.Mutex
	failAt  int // 1: the first fetch; 0: none
	fetches int
}

var errInjected = errors.New("injected failure")

func (s *fakeStates) Window() uint64 { return s.window }

func (s *fakeStates) Open(ctx context.Context, root common.Hash) (StateDatabase, error) {
	return trie.Open(ctx, root, noStore{}, s), nil
}

func (s *fakeStates) fail(at int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failAt, s.fetches = at, 0
}

func (s *fakeStates) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetches
}

func (s *fakeStates) fetch(ctx context.Context) error {
	if s.hang {
		<-ctx.Done()
		return ctx.Err()
	}
	time.Sleep(s.delay)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetches++
	if s.failAt > 0 && s.fetches == s.failAt {
		return errInjected
	}
	return nil
}

func (s *fakeStates) FetchNode(ctx context.Context, f trie.Fault) ([]byte, error) {
	return s.metered(ctx, func() []byte { return rawdb.ReadLegacyTrieNode(s.db, f.Hash) })
}

func (s *fakeStates) FetchCode(ctx context.Context, hash common.Hash) ([]byte, error) {
	return s.metered(ctx, func() []byte { return rawdb.ReadCode(s.db, hash) })
}

// metered reads a node or code, as a fetch from a peer.
func (s *fakeStates) metered(ctx context.Context, read func() []byte) ([]byte, error) {
	meter := trie.MeterOf(ctx)
	if meter != nil {
		if err := meter.Begin(); err != nil {
			return nil, err
		}
		defer meter.End()
	}
	if err := s.fetch(ctx); err != nil {
		return nil, err
	}
	blob := read()
	if len(blob) == 0 {
		return nil, trie.ErrUnavailable
	}
	if meter != nil {
		meter.Fetched(trie.FetchStats{Nodes: 1, Bytes: uint64(len(blob))})
	}
	return blob, nil
}

// noStore stores no nodes.
type noStore struct{}

func (noStore) Node(common.Hash, []byte, common.Hash) ([]byte, error) { return nil, nil }
func (noStore) Code(common.Hash) ([]byte, error)                      { return nil, nil }

// fakeEngine returns a fixed result, or hangs until its context ends.
type fakeEngine struct {
	mu      sync.Mutex
	outcome importer.Outcome
	err     error
	hang    bool
	blocks  []*types.Block
	choices []importer.Forkchoice
}

func (e *fakeEngine) result(ctx context.Context) (importer.Outcome, error) {
	if e.hang {
		<-ctx.Done()
		return importer.Outcome{}, ctx.Err()
	}
	return e.outcome, e.err
}

func (e *fakeEngine) NewPayload(ctx context.Context, block *types.Block) importer.Outcome {
	e.mu.Lock()
	e.blocks = append(e.blocks, block)
	e.mu.Unlock()
	outcome, _ := e.result(ctx)
	return outcome
}

func (e *fakeEngine) Forkchoice(ctx context.Context, choice importer.Forkchoice) (importer.Outcome, error) {
	e.mu.Lock()
	e.choices = append(e.choices, choice)
	e.mu.Unlock()
	return e.result(ctx)
}

// fakeNode is a server with its fake backend, not running.
type fakeNode struct {
	*Server
	chain  *fakeChain
	states *fakeStates
	engine *fakeEngine
}

func newFakeNode(t testing.TB, change ...func(*Config, *Backend)) *fakeNode {
	t.Helper()
	n := &fakeNode{chain: newFakeChain(), states: &fakeStates{db: mainChain().db, window: 128}, engine: new(fakeEngine)}
	cfg := Config{
		GasCap: DefaultGasCap, EVMTimeout: DefaultEVMTimeout, Log: slog.New(slog.NewTextHandler(testWriter{t}, nil)),
		Identity: Identity{Name: "Sunbeam/v1/test", Version: "v1", NetworkID: 7, DataDir: "/data"},
	}
	backend := Backend{
		Chain: n.chain, Heads: n.chain, States: n.states, Engine: n.engine,
		Blobs: pool.New(pool.Config{Chain: n.chain}), // not running
	}
	for _, f := range change {
		f(&cfg, &backend)
	}
	var err error
	if n.Server, err = NewServer(cfg, backend); err != nil {
		t.Fatal(err)
	}
	return n
}

// client is an in-process client of all namespaces.
func (n *fakeNode) client(t testing.TB) *gethrpc.Client {
	t.Helper()
	srv := gethrpc.NewServer()
	if err := n.register(srv, append(n.namespaces(), "engine"), &engineAPI{b: n.b, limiter: n.engineCalls}); err != nil {
		t.Fatal(err)
	}
	client := gethrpc.DialInProc(srv)
	t.Cleanup(client.Close)
	return client
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}
