// SPDX-License-Identifier: LGPL-3.0-or-later

package payloadbuilder

import (
	"context"
	"log/slog"
	"math/big"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/txpool"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/core/vm/program"
	"github.com/ethereum/go-ethereum/event"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/internal/testchain"
	"github.com/sunbeam-eth/sunbeam/trie"
)

const (
	genesisTime = 9000
	users       = 40 // funded accounts, see testchain.Key
)

// Contracts of the test chains.
var (
	writerAddr   = common.HexToAddress("0xc0") // sets a slot: calldata is slot and value
	burnerAddr   = common.HexToAddress("0xc1") // uses all of its gas
	coinbaseAddr = common.HexToAddress("0xc2") // gives its value to the fee recipient
	counterAddr  = common.HexToAddress("0xc3") // counts in slot 0 and emits a log
	reverterAddr = common.HexToAddress("0xc4")
	hasherAddr   = common.HexToAddress("0xc5") // stores the hash of the third block before
)

// configs are the rules that payloads are built for, by fork.
func configs() map[string]*params.ChainConfig {
	prague, osaka, amsterdam := testchain.Config(), testchain.Config(), testchain.Config()
	prague.OsakaTime = nil
	amsterdam.AmsterdamTime = new(uint64)
	return map[string]*params.ChainConfig{"prague": prague, "osaka": osaka, "amsterdam": amsterdam}
}

func newGenesis(config *params.ChainConfig) *core.Genesis {
	slots := make(map[common.Hash]common.Hash)
	for i := range 100 {
		slots[common.BigToHash(big.NewInt(int64(i)))] = common.BigToHash(big.NewInt(int64(i) + 1))
	}
	writer := program.New().Push(32).Op(vm.CALLDATALOAD).Push(0).Op(vm.CALLDATALOAD, vm.SSTORE, vm.STOP)
	counter := program.New().Push(0).Op(vm.SLOAD).Push(1).Op(vm.ADD, vm.DUP1).Push(0).Op(vm.SSTORE)
	counter.Push(0).Op(vm.MSTORE).Push(7).Push(32).Push(0).Op(vm.LOG1, vm.STOP)
	pay := program.New().Push(0).Push(0).Push(0).Push(0).Op(vm.CALLVALUE, vm.COINBASE, vm.GAS, vm.CALL, vm.STOP)
	genesis := testchain.Genesis(config, testchain.Funded(users), testchain.Filler(300), types.GenesisAlloc{
		writerAddr:   {Code: writer.Bytes(), Storage: slots},
		burnerAddr:   {Code: []byte{byte(vm.JUMPDEST), byte(vm.PUSH1), 0, byte(vm.JUMP)}},
		coinbaseAddr: {Code: pay.Bytes()},
		counterAddr:  {Code: counter.Bytes()},
		hasherAddr:   {Code: program.New().Push(3).Op(vm.NUMBER, vm.SUB, vm.BLOCKHASH).Push(0).Op(vm.SSTORE, vm.STOP).Bytes()},
		reverterAddr: {Code: program.New().Push(0).Push(0).Op(vm.REVERT).Bytes()},
	})
	genesis.Timestamp = genesisTime
	return genesis
}

// testChain is a chain whose states are all local. It is the Chain of a builder and of a pool.
type testChain struct {
	made     *testchain.Chain
	config   *params.ChainConfig
	executor *evm.Executor
	states   *trie.Cache // nodes and codes of the blocks after genesis
	feed     event.Feed

	mu     sync.Mutex
	blocks map[common.Hash]*types.Block
	head   *types.Header
}

func newTestChain(config *params.ChainConfig) *testChain {
	made := testchain.New(newGenesis(config))
	root := made.Root()
	return &testChain{
		made: made, config: config, executor: evm.NewExecutor(config), states: trie.NewCache(1<<30, nil),
		blocks: map[common.Hash]*types.Block{root.Hash(): root}, head: root.Header(),
	}
}

func (c *testChain) Config() *params.ChainConfig { return c.config }

func (c *testChain) CurrentHeader() *types.Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.head
}

func (c *testChain) setHead(head *types.Header) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.head = head
}

func (c *testChain) Block(hash common.Hash) *types.Block {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.blocks[hash]
}

func (c *testChain) Header(hash common.Hash) *types.Header {
	if block := c.Block(hash); block != nil {
		return block.Header()
	}
	return nil
}

func (c *testChain) Finalized() *types.Header { return nil }

func (c *testChain) SubscribeHead(ch chan<- chain.HeadEvent) event.Subscription {
	return c.feed.Subscribe(ch)
}

// Node implements trie.Store.
func (c *testChain) Node(owner common.Hash, path []byte, hash common.Hash) ([]byte, error) {
	if blob, err := c.states.Node(owner, path, hash); blob != nil || err != nil {
		return blob, err
	}
	return c.made.Node(hash), nil
}

// Code implements trie.Store.
func (c *testChain) Code(hash common.Hash) ([]byte, error) {
	if code, err := c.states.Code(hash); code != nil || err != nil {
		return code, err
	}
	return c.made.Code(hash), nil
}

// adopt executes a block and makes it the head. It must be valid.
func (c *testChain) adopt(t *testing.T, block *types.Block) {
	t.Helper()
	parent := c.Header(block.ParentHash())
	result := c.executor.Execute(t.Context(), evm.Job{
		Block: block, Parent: parent, State: trie.Open(t.Context(), parent.Root, c, nil), Headers: localHeaders{c},
	})
	if result.Outcome != evm.Valid {
		t.Fatalf("block %d: %v: %v", block.NumberU64(), result.Outcome, result.Err)
	}
	if err := c.states.PutNodes(result.Nodes); err != nil {
		t.Fatal(err)
	}
	for hash, code := range result.Codes {
		if err := c.states.PutCode(hash, code); err != nil {
			t.Fatal(err)
		}
	}
	c.mu.Lock()
	c.blocks[block.Hash()], c.head = block, block.Header()
	c.mu.Unlock()
	c.feed.Send(chain.HeadEvent{Block: block})
}

// listPool is a pool of a fixed list of transactions.
type listPool struct {
	mu    sync.Mutex
	txs   []*types.Transaction
	moved chan struct{} // nil: it never moves
}

// Moved implements Pool.
func (p *listPool) Moved() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.moved
}

// move is what the pool does with a new head.
func (p *listPool) move(txs ...*types.Transaction) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.txs = txs
	close(p.moved)
	p.moved = make(chan struct{})
}

func (p *listPool) set(txs ...*types.Transaction) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.txs = txs
}

// Pending implements Pool. It ignores what the filter says of prices.
func (p *listPool) Pending(filter txpool.PendingFilter) map[common.Address][]*txpool.LazyTransaction {
	p.mu.Lock()
	defer p.mu.Unlock()
	pending := make(map[common.Address][]*txpool.LazyTransaction)
	for _, tx := range p.txs {
		if (tx.Type() == types.BlobTxType) != filter.BlobTxs {
			continue
		}
		from, err := types.Sender(types.LatestSignerForChainID(tx.ChainId()), tx)
		if err != nil {
			panic(err)
		}
		pending[from] = append(pending[from], &txpool.LazyTransaction{
			Hash: tx.Hash(), Tx: tx, Time: tx.Time(), GasFeeCap: uint256.MustFromBig(tx.GasFeeCap()), GasTipCap: uint256.MustFromBig(tx.GasTipCap()),
			Gas: tx.Gas(), BlobGas: tx.BlobGas(),
		})
	}
	return pending
}

// noFetcher is that of a node whose state is complete.
type noFetcher struct{}

func (noFetcher) Prefetch(context.Context, *types.Block, *types.Header) error { return nil }
func (noFetcher) Fetch(context.Context, []trie.Fault, []common.Hash) error    { return nil }

// newTestBuilder returns a builder on a chain with complete state.
func newTestBuilder(t *testing.T, c *testChain, pool Pool, change ...func(*Config)) *Builder {
	t.Helper()
	cfg := Config{
		Chain: c, Executor: c.executor, Pool: pool, Fetcher: noFetcher{},
		State: func(common.Hash) State { return State{Store: c, Complete: true} },
		Busy:  func() bool { return false },
		Log:   slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	for _, f := range change {
		f(&cfg)
	}
	return New(cfg)
}

// running runs a builder until the test ends.
func running(t *testing.T, b *Builder) *Builder {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return b
}

// attributesOn are those for the slot after a block.
func attributesOn(c *testChain, parent *types.Header) Attributes {
	time := parent.Time + 12
	a := Attributes{Parent: parent.Hash(), Version: engine.PayloadV3}
	a.Timestamp, a.Random, a.SuggestedFeeRecipient = time, common.Hash{7}, common.Address{0xfe}
	a.Withdrawals, a.BeaconRoot = []*types.Withdrawal{}, &common.Hash{9}
	if c.config.IsAmsterdam(new(big.Int).Add(parent.Number, common.Big1), time) {
		slot := parent.Number.Uint64() + 100
		a.SlotNumber, a.Version = &slot, engine.PayloadV4
	}
	return a
}

// blockOf decodes a payload as a consensus client's newPayload would bring it back.
func blockOf(t *testing.T, envelope *engine.ExecutionPayloadEnvelope, beaconRoot *common.Hash) *types.Block {
	t.Helper()
	block, err := engine.ExecutableDataToBlock(*envelope.ExecutionPayload, versionedHashes(t, envelope), beaconRoot, envelope.Requests)
	if err != nil {
		t.Fatal(err)
	}
	return block
}

// versionedHashes are those of the blob transactions of a payload.
func versionedHashes(t *testing.T, envelope *engine.ExecutionPayloadEnvelope) []common.Hash {
	t.Helper()
	txs, err := engine.DecodeTransactions(envelope.ExecutionPayload.Transactions)
	if err != nil {
		t.Fatal(err)
	}
	hashes := []common.Hash{}
	for _, tx := range txs {
		hashes = append(hashes, tx.BlobHashes()...)
	}
	return hashes
}

func filterPlain() txpool.PendingFilter { return txpool.PendingFilter{} }
