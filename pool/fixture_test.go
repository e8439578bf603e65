// SPDX-License-Identifier: LGPL-3.0-or-later

package pool

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/crypto/kzg4844"
	"github.com/ethereum/go-ethereum/event"
	"github.com/ethereum/go-ethereum/params"
	gethtrie "github.com/ethereum/go-ethereum/trie"
	"github.com/ethereum/go-ethereum/triedb"
	"github.com/holiman/uint256"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/internal/testchain"
	"github.com/sunbeam-eth/sunbeam/trie"
)

var (
	_ Chain         = (*chain.Chain)(nil)
	_ StateDatabase = (*trie.StateDatabase)(nil)
)

const patience = 10 * time.Second // of the tests; nothing takes long

var (
	keys     = fundedKeys(8)
	poorKey  = testchain.Key(9)
	receiver = common.Address{0xaa}
)

func fundedKeys(n int) (keys []*ecdsa.PrivateKey) {
	for i := range n {
		keys = append(keys, testchain.Key(i+1))
	}
	return keys
}

func addr(key *ecdsa.PrivateKey) common.Address { return crypto.PubkeyToAddress(key.PublicKey) }

// chainWorld is a chain with a head. It is the pool's Chain.
type chainWorld struct {
	t    testing.TB
	made *testchain.Chain // all blocks and their states
	feed event.Feed

	mu     sync.Mutex
	blocks map[common.Hash]*types.Block
	head   *types.Block
}

// newChainWorld makes one whose keys have funds, with more accounts if they are given.
func newChainWorld(t testing.TB, more ...types.GenesisAlloc) *chainWorld {
	t.Helper()
	poor := types.GenesisAlloc{addr(poorKey): {Balance: common.Big1}}
	genesis := testchain.Genesis(nil, append(more, testchain.Funded(len(keys)), testchain.Filler(300), poor)...)
	genesis.Timestamp = 9000
	w := &chainWorld{t: t, made: testchain.New(genesis), blocks: make(map[common.Hash]*types.Block)}
	w.setHead(w.made.Root())
	return w
}

// build makes a block with transactions on a parent; its coinbase tells blocks apart.
func (w *chainWorld) build(parent *types.Block, coinbase byte, txs ...*types.Transaction) *types.Block {
	w.t.Helper()
	blocks, _ := w.made.Extend(parent, 1, func(_ int, b *testchain.Block) {
		b.SetCoinbase(common.Address{coinbase})
		for _, tx := range txs {
			b.AddTx(tx.WithoutBlobTxSidecar())
		}
	})
	return blocks[0]
}

// extend makes the next block, and the head of it.
func (w *chainWorld) extend(txs ...*types.Transaction) *types.Block {
	w.t.Helper()
	block := w.build(w.current(), 0xfe, txs...)
	w.setHead(block)
	return block
}

func (w *chainWorld) setHead(block *types.Block) {
	w.mu.Lock()
	w.blocks[block.Hash()], w.head = block, block
	w.mu.Unlock()
	w.feed.Send(chain.HeadEvent{Block: block})
}

// setHeadUnheld makes a block the head whose ancestors down to the last head are not stored.
func (w *chainWorld) setHeadUnheld(block *types.Block) {
	w.mu.Lock()
	w.blocks = make(map[common.Hash]*types.Block)
	w.mu.Unlock()
	w.setHead(block)
}

func (w *chainWorld) current() *types.Block {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.head
}

func (w *chainWorld) Config() *params.ChainConfig  { return w.made.Genesis.Config }
func (w *chainWorld) CurrentHeader() *types.Header { return w.current().Header() }
func (w *chainWorld) Finalized() *types.Header     { return nil }
func (w *chainWorld) Block(hash common.Hash) *types.Block {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.blocks[hash]
}

func (w *chainWorld) SubscribeHead(ch chan<- chain.HeadEvent) event.Subscription {
	return w.feed.Subscribe(ch)
}

// stateOf is the state after a block.
func (w *chainWorld) stateOf(block *types.Block) (*state.StateDB, error) {
	return state.New(block.Root(), state.NewDatabase(triedb.NewDatabase(w.made.DB, triedb.HashDefaults), nil))
}

// nodes lists the trie nodes of the account trie under a root.
func (w *chainWorld) nodes(root common.Hash) map[common.Hash][]byte {
	w.t.Helper()
	tr, err := gethtrie.New(gethtrie.TrieID(root), triedb.NewDatabase(w.made.DB, triedb.HashDefaults))
	if err != nil {
		w.t.Fatal(err)
	}
	out := make(map[common.Hash][]byte)
	for it := tr.MustNodeIterator(nil); it.Next(true); {
		if it.Hash() != (common.Hash{}) {
			out[it.Hash()] = common.CopyBytes(it.NodeBlob())
		}
	}
	return out
}

var errInjected = errors.New("injected failure")

// network is where missing trie nodes come from. It counts, fails and waits on demand, and keeps
// what was fetched if keep is set.
type network struct {
	w    *chainWorld
	keep bool

	mu      sync.Mutex
	held    map[common.Hash][]byte
	fetches int
	failAt  int           // 1: the first fetch from now on; 0: none; -1: all
	hold    chan struct{} // fetches wait until it is closed; nil: they do not
}

func newNetwork(w *chainWorld) *network { return &network{w: w, held: make(map[common.Hash][]byte)} }

func (n *network) Open(ctx context.Context, root common.Hash) (StateDatabase, error) {
	return trie.Open(ctx, root, n, n), nil
}

func (n *network) set(failAt int, hold chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.failAt, n.hold, n.fetches = failAt, hold, 0
}

func (n *network) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.fetches
}

// execute is what executing a block leaves behind: the nodes that its state has and its parent's
// has not.
func (n *network) execute(parent, block *types.Block) {
	old := n.w.nodes(parent.Root())
	n.mu.Lock()
	defer n.mu.Unlock()
	for hash, blob := range n.w.nodes(block.Root()) {
		if _, had := old[hash]; !had {
			n.held[hash] = blob
		}
	}
}

func (n *network) Node(_ common.Hash, _ []byte, hash common.Hash) ([]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.held[hash], nil
}

func (n *network) Code(common.Hash) ([]byte, error) { return nil, nil }

func (n *network) FetchNode(ctx context.Context, f trie.Fault) ([]byte, error) {
	n.mu.Lock()
	n.fetches++
	fail, hold := n.failAt < 0 || n.fetches == n.failAt, n.hold
	n.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if fail {
		return nil, errInjected
	}
	blob := n.w.made.Node(f.Hash)
	if len(blob) == 0 {
		return nil, trie.ErrUnavailable
	}
	if n.keep {
		n.mu.Lock()
		n.held[f.Hash] = blob
		n.mu.Unlock()
	}
	return blob, nil
}

func (n *network) FetchCode(context.Context, common.Hash) ([]byte, error) {
	return nil, errors.New("no pool reads code")
}

// node is a running pool with its world.
type node struct {
	*Pool
	w    *chainWorld
	net  *network
	stop func()
}

func startPool(t testing.TB, w *chainWorld, change ...func(*Config)) *node {
	t.Helper()
	net := newNetwork(w)
	cfg := Config{Chain: w, Users: net, Peers: net, Ready: func() error { return nil }}
	for _, f := range change {
		f(&cfg)
	}
	n := &node{Pool: New(cfg), w: w, net: net}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- n.Run(ctx) }()
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-over; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(n.stop)
	return n
}

// settle waits until both pools are open and on the head.
func (n *node) settle() {
	n.w.t.Helper()
	n.wakeUp()
	eventually(n.w.t, "the pool is on the head", func() bool {
		at := n.at.Load()
		return at != nil && at.blob != nil && at.head.Hash() == n.w.CurrentHeader().Hash()
	})
}

func (n *node) send(tx *types.Transaction) error {
	ctx, cancel := context.WithTimeout(n.w.t.Context(), patience)
	defer cancel()
	return n.Send(ctx, tx)
}

func (n *node) nonce(t testing.TB, addr common.Address) uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(n.w.t.Context(), patience)
	defer cancel()
	nonce, err := n.Nonce(ctx, addr)
	if err != nil {
		t.Fatal(err)
	}
	return nonce
}

func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so: %s", what)
		}
	}
}

func plain(key *ecdsa.PrivateKey, nonce uint64, change ...func(*types.DynamicFeeTx)) *types.Transaction {
	tx := &types.DynamicFeeTx{
		ChainID: params.MergedTestChainConfig.ChainID, Nonce: nonce, To: &receiver, Value: big.NewInt(1), Gas: 21000,
		GasTipCap: big.NewInt(params.GWei), GasFeeCap: big.NewInt(10 * params.GWei),
	}
	for _, f := range change {
		f(tx)
	}
	return types.MustSignNewTx(key, types.LatestSigner(params.MergedTestChainConfig), tx)
}

var blobSidecar = sync.OnceValue(func() *types.BlobTxSidecar {
	blob := new(kzg4844.Blob)
	blob[3] = 7
	commitment, err := kzg4844.BlobToCommitment(blob)
	if err != nil {
		panic(err)
	}
	proofs, err := kzg4844.ComputeCellProofs(blob)
	if err != nil {
		panic(err)
	}
	return types.NewBlobTxSidecar(types.BlobSidecarVersion1, []kzg4844.Blob{*blob}, []kzg4844.Commitment{commitment}, proofs)
})

func blobTx(key *ecdsa.PrivateKey, nonce uint64) *types.Transaction {
	sidecar := blobSidecar()
	return types.MustSignNewTx(key, types.LatestSigner(params.MergedTestChainConfig), &types.BlobTx{
		ChainID: uint256.MustFromBig(params.MergedTestChainConfig.ChainID), Nonce: nonce, To: receiver, Gas: 21000,
		GasTipCap: uint256.NewInt(params.GWei), GasFeeCap: uint256.NewInt(10 * params.GWei), BlobFeeCap: uint256.NewInt(params.GWei),
		BlobHashes: sidecar.BlobHashes(), Sidecar: sidecar,
	})
}
