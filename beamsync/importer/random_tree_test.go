// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"context"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus/beacon"
	"github.com/ethereum/go-ethereum/consensus/ethash"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"

	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// randomTree is a tree of blocks: some good branches, and bad blocks with descendants that look good.
type randomTree struct {
	genesis *core.Genesis
	states  hashStore                    // of all good blocks
	paths   [][]*types.Block             // from block 1 to each leaf, the good ones first
	good    int                          // how many of them are good; the first one is the longest
	library map[common.Hash]*types.Block // all
	wrong   map[common.Hash]bool         // what breaks a rule by itself
	bad     map[common.Hash]bool         // that, and all on top of it
	name    map[common.Hash]string       // for the history
}

func newRandomTree(rng *rand.Rand, longer int) *randomTree {
	genesis, _ := missedChain(0, 0)
	consensus := beacon.New(ethash.NewFaker())
	branch := 0
	grow := func(i int, gen *core.BlockGen) {
		salt := branch
		if branch%2 == 1 { // a sibling that makes the same state
			salt--
			gen.SetExtra([]byte{byte(branch)})
		}
		gen.AddWithdrawal(&types.Withdrawal{Address: common.BigToAddress(big.NewInt(int64(0x10000*(salt+1) + i%7))), Amount: 1})
	}
	const length = 40
	db, trunk, _ := core.GenerateChainWithGenesis(genesis, consensus, length+longer, grow)
	tree := &randomTree{
		genesis: genesis, states: hashStore{db}, paths: [][]*types.Block{trunk}, library: make(map[common.Hash]*types.Block),
		wrong: make(map[common.Hash]bool), bad: make(map[common.Hash]bool), name: make(map[common.Hash]string),
	}
	for branch = 1; branch <= 4; branch++ {
		below := tree.paths[rng.IntN(len(tree.paths))]
		at := 2 + rng.IntN(min(len(below), length)-2)
		n := 1 + rng.IntN(length-at)
		more, _ := core.GenerateChain(genesis.Config, below[at-1], consensus, db, n, grow)
		tree.paths = append(tree.paths, slices.Concat(below[:at], more))
	}
	tree.good = len(tree.paths)
	for range 4 {
		below := tree.paths[rng.IntN(len(tree.paths))]
		below = below[:min(len(below), length)]
		at := 1 + rng.IntN(len(below)-2)
		path := slices.Clone(below[:at])
		for i := at; i < len(below); i++ {
			header := below[i].Header()
			if i == at {
				spoil(rng.IntN(6), header, below[i-1].Header())
			} else {
				header.ParentHash = path[i-1].Hash()
			}
			path = append(path, types.NewBlockWithHeader(header).WithBody(*below[i].Body()))
			tree.bad[path[i].Hash()] = true
		}
		tree.wrong[path[at].Hash()] = true
		tree.paths = append(tree.paths, path)
	}
	for at, path := range tree.paths {
		for _, block := range path {
			hash := block.Hash()
			if tree.library[hash] != nil {
				continue
			}
			tree.library[hash] = block
			tree.name[hash] = fmt.Sprintf("%d/%d", block.NumberU64(), at)
			switch {
			case tree.wrong[hash]:
				tree.name[hash] += "!"
			case tree.bad[hash]:
				tree.name[hash] += "?"
			}
		}
	}
	return tree
}

// spoil makes a header a bad one. All but the first leave states to their descendants.
func spoil(kind int, header, parent *types.Header) {
	switch kind {
	case 0:
		header.Root[0]++
	case 1:
		header.Root = parent.Root
	case 2:
		header.ReceiptHash[0]++
	case 3:
		header.Bloom[0]++
	case 4:
		header.GasUsed++
	case 5: // found without execution
		header.Time = parent.Time
	}
}

func (tree *randomTree) parent(hash common.Hash) common.Hash { return tree.library[hash].ParentHash() }

// randomPeers fail at times, or answer late. That they do not answer at all is the business of the network.
type randomPeers struct {
	reticent
	network *network
	served  func(origin common.Hash, headers []*types.Header)
	mu      sync.Mutex
	rng     *rand.Rand // nil: all is well
}

func (p *randomPeers) answer(ctx context.Context) error {
	var late time.Duration
	p.mu.Lock()
	fails := p.rng != nil && p.rng.IntN(12) == 0
	if p.rng != nil {
		late = time.Duration(p.rng.Int64N(int64(200 * time.Millisecond)))
		if p.rng.IntN(15) == 0 {
			late *= 40
		}
	}
	p.mu.Unlock()
	select {
	case <-time.After(late):
	case <-ctx.Done():
		return ctx.Err()
	}
	if fails {
		return trie.ErrUnavailable
	}
	return p.network.answer(ctx)
}

func (p *randomPeers) Headers(ctx context.Context, origin common.Hash, amount int) ([]*types.Header, error) {
	if err := p.answer(ctx); err != nil {
		return nil, err
	}
	headers, err := p.reticent.Headers(ctx, origin, amount)
	p.served(origin, headers)
	return headers, err
}

func (p *randomPeers) Bodies(ctx context.Context, headers []*types.Header) ([]*types.Block, error) {
	if err := p.answer(ctx); err != nil {
		return nil, err
	}
	return p.reticent.Bodies(ctx, headers)
}

// randomSession asks them for state.
type randomSession struct {
	networkSession
	peers *randomPeers
}

func (s randomSession) FetchNode(ctx context.Context, f trie.Fault) ([]byte, error) {
	if err := s.peers.answer(ctx); err != nil {
		return nil, err
	}
	return s.networkSession.FetchNode(ctx, f)
}

// newestStates is a [Full] that forgets all but the newest ones.
type newestStates struct {
	states hashStore
	keep   int
	mu     sync.Mutex
	roots  []common.Hash
}

func (s *newestStates) Has(root common.Hash) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.roots, root)
}

func (s *newestStates) Open(ctx context.Context, root common.Hash) evm.State {
	if !s.Has(root) {
		return &newestState{trie.Open(ctx, root, nil, nil), s}
	}
	return &newestState{trie.Open(ctx, root, s.states, nil), s}
}

type newestState struct {
	*trie.StateDatabase
	all *newestStates
}

func (s *newestState) Finish(executed *state.StateDB, rules params.Rules, number uint64) ([]trie.Node, map[common.Hash][]byte, error) {
	nodes, _, err := s.StateDatabase.Finish(executed, rules, number)
	if err != nil {
		return nil, nil, err
	}
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	for _, node := range nodes {
		if node.Owner == (common.Hash{}) && len(node.Path) == 0 {
			s.all.roots = append(s.all.roots, node.Hash)
		}
	}
	s.all.roots = s.all.roots[max(0, len(s.all.roots)-s.all.keep):]
	return nil, nil, s.all.states.PutNodes(nodes)
}
