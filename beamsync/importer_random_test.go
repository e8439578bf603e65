package beamsync

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus/beacon"
	"github.com/ethereum/go-ethereum/consensus/ethash"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"

	"github.com/sunbeam-eth/sunbeam/chain"
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

// spoil makes a header a bad one. All but the first leave states that can be had to what stands on it.
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

// randomModel says which answers are wrong. What it excuses is the trust of docs/adr/0004: a beaming node that begins
// on a parent that it did not execute may begin above a bad block, unless the headers that it holds, or has just fetched, lead to
// one that it has called bad. It may have forgotten that one after 128 answers. What it executed before a bad block below
// was called that stays good, and so may what comes on top of it: a full node that has lost its state and goes further back
// calls that bad, and a beaming one may not.
type randomModel struct {
	*randomTree
	t      *testing.T
	chain  *chain.Chain
	beams  bool // all the time
	maxLag int
	start  time.Time

	mu      sync.Mutex
	said    map[common.Hash]time.Time // when a block was called bad first
	asked   map[common.Hash]int       // answers that make the node forget a bad block, by its hash
	begun   map[common.Hash]bool      // blocks on whose parents the node began to beam
	fetched map[common.Hash]fetched   // the latest headers from one down
	excused int                       // blocks on top of bad ones that were executed
	history []string
}

type fetched struct {
	when    time.Time
	headers []*types.Header
}

func (m *randomModel) served(origin common.Hash, headers []*types.Header) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(headers) > m.maxLag {
		return // for a marker: with a bad one among them, none of them is kept
	}
	m.fetched[origin] = fetched{time.Now(), headers}
}

func (m *randomModel) noteLocked(format string, args ...any) {
	line := fmt.Sprintf("%8v ", time.Since(m.start).Round(time.Millisecond)) + fmt.Sprintf(format, args...)
	if !slices.Contains(m.history[max(0, len(m.history)-2):], line) { // asked often
		m.history = append(m.history, line)
	}
}

func (m *randomModel) failLocked(format string, args ...any) {
	m.noteLocked("WRONG: "+format, args...)
	m.t.Errorf(format, args...)
}

func (m *randomModel) fail(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failLocked(format, args...)
}

// Enabled, Handle, WithAttrs and WithGroup implement slog.Handler: what the importer says it does, it says at once.
func (m *randomModel) Enabled(context.Context, slog.Level) bool { return true }
func (m *randomModel) WithAttrs([]slog.Attr) slog.Handler       { return m }
func (m *randomModel) WithGroup(string) slog.Handler            { return m }
func (m *randomModel) Handle(_ context.Context, record slog.Record) error {
	var hash common.Hash
	record.Attrs(func(a slog.Attr) bool {
		if h, ok := a.Value.Any().(common.Hash); ok && a.Key == "hash" {
			hash = h
		}
		return true
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	m.noteLocked("  %s %s", record.Message, m.name[hash])
	switch record.Message {
	case "Invalid block":
		if !m.bad[hash] {
			m.failLocked("good block %s is called bad", m.name[hash])
		}
		m.sayLocked(hash)
	case "Beaming begins", "Pivot to the newest head":
		m.begun[hash] = true
	case "Block executed":
		if m.bad[hash] {
			m.executedLocked(hash)
		}
	}
	return nil
}

func (m *randomModel) sayLocked(hash common.Hash) {
	for at := hash; m.bad[at]; at = m.parent(at) {
		if m.chain.Status(at) == chain.Executed {
			return
		}
	}
	if _, said := m.said[hash]; !said {
		m.said[hash] = time.Now()
	}
}

// executedLocked looks at a block on top of a bad one that has just been executed and found good.
func (m *randomModel) executedLocked(hash common.Hash) {
	m.excusedLocked(hash)
	m.excused++
	if !m.begun[hash] {
		return
	}
	fetched := m.fetched[m.parent(hash)]
	known := len(fetched.headers)
	for at := m.parent(hash); m.bad[at] && m.chain.Status(at) != chain.Executed; at = m.parent(at) {
		held := m.chain.Header(at) != nil
		said, ok := m.said[at]
		if ok && said.Before(time.Now()) && m.remembersLocked(at) {
			m.failLocked("%s is beamed on although %s below it is known to be bad", m.name[hash], m.name[at])
			return
		}
		if known--; !held && (known < 0 || m.lateLocked(at, fetched.when)) {
			return // it cannot know
		}
	}
}

// lateLocked says whether nothing from a block down had been called bad when headers were fetched.
func (m *randomModel) lateLocked(at common.Hash, when time.Time) bool {
	for ; m.bad[at]; at = m.parent(at) {
		if said, ok := m.said[at]; ok && said.Before(when) {
			return false
		}
	}
	return true
}

// remembersLocked says whether the node must remember that a block is bad, or does.
func (m *randomModel) remembersLocked(hash common.Hash) bool {
	for at := hash; m.bad[at]; at = m.parent(at) {
		if m.asked[at] >= 40 {
			return m.chain.Rejects(hash)
		}
	}
	return true
}

// excusedLocked wants beaming to have begun between a block that is called good and the bad block below it.
func (m *randomModel) excusedLocked(hash common.Hash) {
	for at := hash; ; at = m.parent(at) {
		switch {
		case m.wrong[at]:
			m.failLocked("%s is called good, on top of %s, which the node had to execute", m.name[hash], m.name[at])
			return
		case m.chain.Status(at) != chain.Executed:
			m.failLocked("%s is called good, on top of %s, which is not executed", m.name[hash], m.name[at])
			return
		case m.begun[at]:
			return
		}
	}
}

// answer judges what was said of a block.
func (m *randomModel) answer(what string, hash common.Hash, status engine.PayloadStatusV1, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	latest := ""
	if status.LatestValidHash != nil {
		latest = m.name[*status.LatestValidHash]
	}
	m.noteLocked("%s %s: %s %s", what, m.name[hash], status.Status, latest)
	if err != nil {
		m.failLocked("%s %s: %v", what, m.name[hash], err)
	}
	for at := hash; m.bad[at]; at = m.parent(at) {
		if at == hash || !m.beams {
			m.asked[at]++
		}
		if m.wrong[at] && !m.said[at].IsZero() && m.remembersLocked(at) && !m.chain.Rejects(at) {
			m.failLocked("%s is forgotten after %d answers", m.name[at], m.asked[at])
		}
	}
	switch status.Status {
	case engine.VALID:
		if m.bad[hash] {
			m.excusedLocked(hash)
		} else if m.chain.Status(hash) != chain.Executed {
			m.failLocked("%s is called good but was not executed", m.name[hash])
		}
	case engine.INVALID:
		if !m.bad[hash] {
			m.failLocked("%s is called bad: %s", m.name[hash], reasonOf(status))
		}
		m.sayLocked(hash)
		if status.LatestValidHash != nil {
			m.latestLocked(hash, *status.LatestValidHash)
		}
	}
}

// latestLocked wants a latestValidHash to be an executed ancestor of a bad block, and nothing good to lie between.
func (m *randomModel) latestLocked(hash, latest common.Hash) {
	for at := hash; m.library[at] != nil; at = m.parent(at) {
		switch {
		case !m.bad[at]:
			m.failLocked("%s is implied to be bad by the latestValidHash of %s, %s", m.name[at], m.name[hash], m.name[latest])
			return
		case m.parent(at) != latest:
			continue
		case m.bad[latest]:
			m.excusedLocked(latest)
		case m.chain.Status(latest) != chain.Executed:
			m.failLocked("the latestValidHash of %s, %s, was not executed", m.name[hash], m.name[latest])
		}
		return
	}
	m.failLocked("the latestValidHash of %s, %x %s, is no ancestor", m.name[hash], latest, m.name[latest])
}

// TestRandomTrees sends random blocks in random order to an importer whose peers are bad, and compares all answers with a model.
// RANDOM_TREES=10-20 in the environment asks for these seeds. What runs at the same moment of virtual time is in no order, so a
// seed may need some tries.
func TestRandomTrees(t *testing.T) {
	first, last := uint64(1), uint64(400)
	if testing.Short() {
		last = 10
	}
	if wish := os.Getenv("RANDOM_TREES"); wish != "" {
		if _, err := fmt.Sscanf(wish, "%d-%d", &first, &last); err != nil {
			t.Fatal(err)
		}
	}
	for seed := first; seed <= last; seed++ {
		if !t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { testRandomTree(t, seed) }) {
			return
		}
	}
}

func testRandomTree(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 0))
	maxLag, longer := 3+rng.IntN(8), 0
	hang := rng.IntN(2) == 0 // states that nobody has are asked for as long as the chain does not leave them behind
	if hang {
		longer = maxLag + 1
	}
	tree := newRandomTree(rng, longer)
	n := &network{genesis: tree.genesis, states: tree.states}
	for hash := range tree.bad {
		if hang {
			n.gone = append(n.gone, tree.library[hash].Root())
		}
	}
	if hang { // the states that there are can be had
		n.gone = slices.DeleteFunc(n.gone, func(root common.Hash) bool {
			blob, _ := tree.states.Node(common.Hash{}, nil, root)
			return blob != nil
		})
	}
	mode := rng.IntN(3) // beaming, full, handed over
	library := newLibrary(nil)
	library.blocks = tree.library
	peers := &randomPeers{reticent: reticent{library}, network: n, rng: rand.New(rand.NewPCG(seed, 1))}
	m := &randomModel{
		randomTree: tree, t: t, beams: mode == 0, maxLag: maxLag,
		said: make(map[common.Hash]time.Time), asked: make(map[common.Hash]int), begun: make(map[common.Hash]bool), fetched: make(map[common.Hash]fetched),
	}
	peers.served = m.served
	keep := []int{3, 12, 128}[rng.IntN(3)]
	inBubbleOn(t, n, uint64(maxLag), func(f *fixture) {
		m.noise(f, peers, rng, mode, keep)
	}, func(cfg *ImporterConfig) {
		m.chain, m.start = cfg.Chain, time.Now()
		cfg.Log, cfg.Blocks = slog.New(m), peers
		local := cfg.Local
		cfg.Session = func() StateSession { return randomSession{networkSession{n, local}, peers} }
		if mode == 1 {
			cfg.Full = &newestStates{states: tree.states, keep: keep, roots: []common.Hash{cfg.Chain.Genesis().Root()}}
		}
	})
	if testing.Verbose() {
		t.Logf("mode %d: %d blocks called bad, %d excused", mode, len(m.said), m.excused)
	}
	if t.Failed() {
		t.Logf("seed %d, mode %d, max lag %d, keep %d, hang %v; n/b is block n of branch b, ! is bad, ? is on top of that", seed, mode, maxLag, keep, hang)
		for _, line := range m.history[max(0, len(m.history)-200):] {
			t.Log(line)
		}
	}
}

// noise is the test of one tree.
func (m *randomModel) noise(f *fixture, peers *randomPeers, rng *rand.Rand, mode, keep int) {
	ctx, cancel := context.WithCancel(f.t.Context())
	var background, callers sync.WaitGroup
	background.Go(func() { m.changeModes(ctx, f, mode, keep) })
	for range 3 {
		own := rand.New(rand.NewPCG(rng.Uint64(), 0))
		callers.Go(func() { m.call(f, own) })
	}
	outages := rand.New(rand.NewPCG(rng.Uint64(), 0))
	quiet := make(chan struct{})
	background.Go(func() {
		for mute := false; ; mute = !mute {
			f.set(10*time.Millisecond, mute)
			select {
			case <-time.After(time.Duration(outages.Int64N(int64(20 * time.Second)))):
			case <-quiet:
				f.set(10*time.Millisecond, false)
				return
			}
		}
	})
	callers.Wait()
	close(quiet)
	peers.mu.Lock()
	peers.rng = nil
	peers.mu.Unlock()

	path := m.paths[0]
	if len(path) == len(m.paths[1]) || len(path) == 40 {
		path = m.paths[rng.IntN(m.good)]
	}
	for _, head := range path[len(path)-1-rng.IntN(2):] {
		asked := time.Now()
		for f.chain.CurrentHeader().Hash() != head.Hash() {
			if time.Since(asked) > time.Minute {
				m.fail("%s is not the head after %v, in work: %+v", m.name[head.Hash()], time.Since(asked), f.importer.Status().Pending)
				break
			}
			m.answer("payload", head.Hash(), f.payload(head, 5*time.Second), nil)
			status, err := f.choose(head.Hash(), common.Hash{}, common.Hash{}, 5*time.Second)
			m.answer("head", head.Hash(), status, err)
		}
	}
	cancel()
	background.Wait()
	if err := f.chain.Check(); err != nil {
		m.fail("chain: %v", err)
	}
}

// call is one caller of the engine: it goes along a branch, more or less, and changes to others.
func (m *randomModel) call(f *fixture, rng *rand.Rand) {
	path, at := m.paths[rng.IntN(len(m.paths))], 0
	for range 40 {
		switch rng.IntN(12) {
		case 0:
			path = m.paths[rng.IntN(len(m.paths))]
		case 1:
			at = rng.IntN(len(path))
		default:
			at += rng.IntN(6) - 1
		}
		at = max(0, min(at, len(path)-1))
		block, patience, times := path[at], time.Duration(rng.Int64N(int64(8*time.Second))), 1
		if rng.IntN(100) == 0 {
			times = 2 * 128
		}
		for range times {
			if rng.IntN(2) == 0 {
				m.answer("payload", block.Hash(), f.payload(block, patience), nil)
			} else {
				safe := common.Hash{}
				if rng.IntN(4) == 0 {
					safe = path[rng.IntN(at+1)].Hash()
				}
				status, err := f.choose(block.Hash(), safe, common.Hash{}, patience)
				m.answer("head", block.Hash(), status, err)
			}
			patience /= 4
		}
		time.Sleep(time.Duration(rng.Int64N(int64(3 * time.Second))))
	}
}

// changeModes hands over a beaming node, and beams again when it is stranded.
func (m *randomModel) changeModes(ctx context.Context, f *fixture, mode, keep int) {
	rng := rand.New(rand.NewPCG(uint64(keep), uint64(mode)))
	for mode != 0 && ctx.Err() == nil {
		if mode == 1 {
			select {
			case <-f.importer.Stranded():
				f.importer.Beam()
			case <-ctx.Done():
				return
			}
			mode = 2
		}
		select {
		case <-time.After(time.Duration(rng.Int64N(int64(40 * time.Second)))):
		case <-ctx.Done():
			return
		}
		base := f.chain.CurrentHeader()
		for range rng.IntN(6) {
			if below := f.chain.Header(base.ParentHash); below != nil && f.chain.Status(below.Hash()) == chain.Executed {
				base = below
			}
		}
		full := &newestStates{states: m.states, keep: keep, roots: []common.Hash{base.Root}}
		err := f.importer.HandOver(ctx, full, base, func() error { return nil })
		m.mu.Lock()
		m.noteLocked("  hand-over at %s: %v", m.name[base.Hash()], err)
		m.mu.Unlock()
		if err == nil {
			mode = 1
		} else if !errors.Is(err, trie.ErrUnavailable) && ctx.Err() == nil {
			m.fail("hand-over: %v", err)
		}
	}
}
