// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"context"
	"log/slog"
	"math/big"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sunbeam-eth/sunbeam/beamsync/internal/beamtest"
	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/internal/testchain"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// network is a chain with all of its states and blocks, and the time it takes to ask for them.
type network struct {
	genesis *core.Genesis
	blocks  []*types.Block // 1..n
	side    []*types.Block // a branch from block 1 on: 2', 3', ...
	states  hashStore

	mu    sync.Mutex
	delay time.Duration // of each request
	mute  bool          // no peer answers
	asked int           // requests for nodes and codes
	gone  []common.Hash // roots of states that no peer has any more
	bare  []common.Hash // blocks of which peers have the header only

	helpful    bool                            // hints bring what they ask for
	hints      time.Duration                   // that hints take otherwise, all in vain
	lists      func(*types.Block) rlp.RawValue // what AccessLists says, nil: nothing, ever
	listsAsked [][]common.Hash
}

func newNetwork(t *testing.T, config *params.ChainConfig, length int) *network {
	t.Helper()
	return newNetworkOf(t, config, length, nil)
}

// newNetworkOf makes one whose blocks call the contract that is given, if it is, with their number
// from 0 on as input.
func newNetworkOf(t *testing.T, config *params.ChainConfig, length int, contract *types.Account) *network {
	t.Helper()
	called, alloc := common.Address{0xcc}, types.GenesisAlloc{}
	if contract != nil {
		alloc[called] = *contract
	}
	built := testchain.New(testchain.Genesis(config, testchain.Funded(1), alloc))
	pay := func(salt byte, first int) func(int, *testchain.Block) {
		return func(i int, b *testchain.Block) {
			i += first
			b.Call(common.Address{0xee, salt, byte(i), byte(i >> 8)}, 1, nil)
			if contract != nil {
				b.Call(called, 0, common.BigToHash(big.NewInt(int64(i))).Bytes())
			}
		}
	}
	blocks, _ := built.Extend(built.Root(), length, pay(0, 0))
	side, _ := built.Extend(blocks[0], 3, pay(1, 1))
	return &network{genesis: built.Genesis, blocks: blocks, side: side, states: hashStore{built.DB}}
}

func (n *network) block(hash common.Hash) *types.Block {
	if genesis := n.genesis.ToBlock(); genesis.Hash() == hash {
		return genesis
	}
	for _, list := range [][]*types.Block{n.blocks, n.side} {
		for _, block := range list {
			if block.Hash() == hash {
				return block
			}
		}
	}
	return nil
}

// answer waits as a request would.
func (n *network) answer(ctx context.Context) error {
	for {
		n.mu.Lock()
		delay, mute := n.delay, n.mute
		n.mu.Unlock()
		if mute {
			delay = time.Second
		}
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return ctx.Err()
		}
		if !mute {
			return nil
		}
	}
}

func (n *network) set(delay time.Duration, mute bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay, n.mute = delay, mute
}

// Headers implements [Blocks].
func (n *network) Headers(ctx context.Context, origin common.Hash, amount int) ([]*types.Header, error) {
	if err := n.answer(ctx); err != nil {
		return nil, err
	}
	var headers []*types.Header
	for len(headers) < amount {
		block := n.block(origin)
		if block == nil {
			<-ctx.Done() // no peer has it: requested until the caller cancels
			return nil, ctx.Err()
		}
		headers = append(headers, block.Header())
		if block.NumberU64() == 0 {
			break
		}
		origin = block.ParentHash()
	}
	return headers, nil
}

// Bodies implements [Blocks].
func (n *network) Bodies(ctx context.Context, headers []*types.Header) ([]*types.Block, error) {
	if err := n.answer(ctx); err != nil {
		return nil, err
	}
	n.mu.Lock()
	lacking := slices.ContainsFunc(headers, func(header *types.Header) bool { return slices.Contains(n.bare, header.Hash()) })
	n.mu.Unlock()
	if lacking {
		<-ctx.Done() // requested as long as the caller waits
		return nil, ctx.Err()
	}
	blocks := make([]*types.Block, len(headers))
	for i, header := range headers {
		blocks[i] = unlisted(n.block(header.Hash()))
	}
	return blocks, nil
}

// unlisted is a block as a body makes it.
func unlisted(block *types.Block) *types.Block {
	return types.NewBlockWithHeader(block.Header()).WithBody(*block.Body())
}

// AccessLists implements [Blocks].
func (n *network) AccessLists(ctx context.Context, headers []*types.Header) ([]rlp.RawValue, error) {
	var hashes []common.Hash
	for _, header := range headers {
		hashes = append(hashes, header.Hash())
	}
	n.mu.Lock()
	n.listsAsked = append(n.listsAsked, hashes)
	n.mu.Unlock()
	if n.lists == nil {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if err := n.answer(ctx); err != nil {
		return nil, err
	}
	lists := make([]rlp.RawValue, len(headers))
	for i, hash := range hashes {
		lists[i] = n.lists(n.block(hash))
	}
	return lists, nil
}

// networkSession is a state session with the network.
type networkSession struct {
	*network
	local trie.Local
}

func (s networkSession) Stats() trie.FetchStats { return trie.FetchStats{} }

func (s networkSession) FetchNode(ctx context.Context, f trie.Fault) ([]byte, error) {
	if err := s.answer(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.asked++
	gone := slices.Contains(s.gone, f.Root)
	s.mu.Unlock()
	if gone { // requested until the caller cancels
		<-ctx.Done()
		return nil, ctx.Err()
	}
	blob, _ := s.states.Node(f.Owner, f.Path, f.Hash)
	if blob == nil {
		return nil, trie.ErrUnavailable
	}
	return blob, s.local.PutNodes([]trie.Node{{Owner: f.Owner, Path: f.Path, Hash: f.Hash, Blob: blob}})
}

func (s networkSession) FetchCode(ctx context.Context, hash common.Hash) ([]byte, error) {
	if err := s.answer(ctx); err != nil {
		return nil, err
	}
	return s.states.Code(hash)
}

func (s networkSession) Hint(ctx context.Context, faults []trie.Fault, codes []common.Hash, news func()) error {
	if s.helpful {
		return s.help(ctx, faults, codes, news)
	}
	time.Sleep(s.hints)
	return trie.ErrUnavailable
}

// fixture is a fresh node on a network.
type fixture struct {
	*network
	t        *testing.T
	importer *Importer
	chain    *chain.Chain
	log      *beamtest.Buffer
	ran      chan error
}

// inImporterBubble runs a test of a fresh, running importer in virtual time.
func inImporterBubble(t *testing.T, length int, maxLag uint64, test func(f *fixture)) {
	t.Helper()
	inBubbleOn(t, newNetwork(t, params.MergedTestChainConfig, length), maxLag, test)
}

// inBubbleOn does so on a network that is there.
func inBubbleOn(t *testing.T, n *network, maxLag uint64, test func(f *fixture), change ...func(*Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n.set(100*time.Millisecond, false)
		f, stop := n.start(t, maxLag, change...)
		test(f)
		stop()
	})
}

// start runs a fresh node, until stop is called.
func (n *network) start(t *testing.T, maxLag uint64, change ...func(*Config)) (f *fixture, stop func()) {
	t.Helper()
	disk, err := db.OpenMemory(db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := chain.New(disk.Chain(), n.genesis)
	if err != nil {
		t.Fatal(err)
	}
	local := trie.NewCache(16<<20, nil)
	f = &fixture{network: n, t: t, chain: blocks, log: new(beamtest.Buffer), ran: make(chan error, 1)}
	cfg := Config{
		Chain: blocks, Executor: evm.NewExecutor(n.genesis.Config), Local: local, Blocks: n,
		Session: func() StateSession { return networkSession{n, local} },
		MaxLag:  maxLag, Log: slog.New(slog.NewTextHandler(f.log, nil)), Registerer: prometheus.NewRegistry(),
	}
	for _, f := range change {
		f(&cfg)
	}
	f.importer = New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { f.ran <- f.importer.Run(ctx) }()
	return f, func() {
		cancel()
		if err := <-f.ran; err != nil {
			t.Errorf("importer: %v", err)
		}
		disk.Close()
	}
}

func (f *fixture) at(number int) *types.Block { return f.blocks[number-1] }

// payload imports a block and returns its outcome, Syncing after the timeout.
func (f *fixture) payload(block *types.Block, timeout time.Duration) Outcome {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), timeout)
	defer cancel()
	return f.importer.NewPayload(ctx, block)
}

func (f *fixture) choose(head, safe, final common.Hash, timeout time.Duration) (Outcome, error) {
	ctx, cancel := context.WithTimeout(f.t.Context(), timeout)
	defer cancel()
	return f.importer.Forkchoice(ctx, Forkchoice{Head: head, Safe: safe, Finalized: final})
}

func (f *fixture) want(what string, status Outcome, want Validity) {
	f.t.Helper()
	if status.Status != want {
		f.t.Fatalf("%s: %s, want %s (%s)", what, status.Status, want, reasonOf(status))
	}
}

// follow imports blocks from..to and makes each the head.
func (f *fixture) follow(from, to int) {
	f.t.Helper()
	for number := from; number <= to; number++ {
		block := f.at(number)
		f.want("payload", f.payload(block, time.Minute), Valid)
		status, err := f.choose(block.Hash(), common.Hash{}, common.Hash{}, time.Minute)
		if err != nil {
			f.t.Fatal(err)
		}
		f.want("head", status, Valid)
	}
}

func (f *fixture) head(want *types.Block) {
	f.t.Helper()
	if got := f.chain.CurrentHeader(); got.Hash() != want.Hash() {
		f.t.Fatalf("head is %d %x, want %d", got.Number, got.Hash(), want.NumberU64())
	}
}
