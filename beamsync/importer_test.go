package beamsync

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus/beacon"
	"github.com/ethereum/go-ethereum/consensus/ethash"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/ethereum/go-ethereum/triedb"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/evm"
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
	mute  bool          // nobody answers
	asked int           // requests for nodes and codes

	helpful    bool                            // hints bring what they ask for
	hints      time.Duration                   // that hints take otherwise, all in vain
	lists      func(*types.Block) rlp.RawValue // what AccessLists says, nil: nothing, ever
	listsAsked [][]common.Hash
}

var testKey, _ = crypto.HexToECDSA("b71c71a67e1177ad4e901695e1b4b9ee17ae16c6668d313eac2f96dbcda3f291")

func newNetwork(t *testing.T, config *params.ChainConfig, length int) *network {
	t.Helper()
	return newNetworkOf(t, config, length, nil)
}

// newNetworkOf makes one whose blocks call the contract that is given, if it is, with their number
// from 0 on as input.
func newNetworkOf(t *testing.T, config *params.ChainConfig, length int, contract *types.Account) *network {
	t.Helper()
	genesis := &core.Genesis{
		Config:   config,
		GasLimit: 30_000_000,
		BaseFee:  big.NewInt(params.InitialBaseFee),
		Alloc:    core.SystemContractAllocs(),
	}
	genesis.Alloc[crypto.PubkeyToAddress(testKey.PublicKey)] = types.Account{Balance: new(big.Int).Lsh(big.NewInt(1), 100)}
	if contract != nil {
		genesis.Alloc[common.Address{0xcc}] = *contract
	}
	state := rawdb.NewMemoryDatabase()
	nodes := triedb.NewDatabase(state, triedb.HashDefaults)
	if _, err := genesis.Commit(state, nodes, nil); err != nil {
		t.Fatal(err)
	}
	signer := types.LatestSigner(genesis.Config)
	pay := func(salt byte) func(int, *core.BlockGen) {
		return func(i int, gen *core.BlockGen) {
			to := common.Address{0xee, salt, byte(i), byte(i >> 8)}
			gen.AddTx(types.MustSignNewTx(testKey, signer, &types.LegacyTx{
				Nonce: gen.TxNonce(crypto.PubkeyToAddress(testKey.PublicKey)), To: &to, Value: big.NewInt(1),
				Gas: 21000, GasPrice: gen.BaseFee(),
			}))
			if contract != nil {
				gen.AddTx(types.MustSignNewTx(testKey, signer, &types.LegacyTx{
					Nonce: gen.TxNonce(crypto.PubkeyToAddress(testKey.PublicKey)), To: &common.Address{0xcc}, Data: common.BigToHash(big.NewInt(int64(i))).Bytes(),
					Gas: 200_000, GasPrice: gen.BaseFee(),
				}))
			}
		}
	}
	consensus := beacon.New(ethash.NewFaker())
	_, blocks, _ := core.GenerateChainWithGenesis(genesis, consensus, length, pay(0))
	_, side, _ := core.GenerateChainWithGenesis(genesis, consensus, 4, func(i int, gen *core.BlockGen) {
		salt := byte(0)
		if i > 0 {
			salt = 1
		}
		pay(salt)(i, gen)
	})
	if side[0].Hash() != blocks[0].Hash() {
		t.Fatal("the branches do not meet in block 1")
	}
	n := &network{genesis: genesis, blocks: blocks, side: side[1:], states: hashStore{state}}
	n.keepStates(t, side)
	n.keepStates(t, blocks)
	return n
}

// keepStates executes blocks on the complete state, and keeps what they make.
func (n *network) keepStates(t *testing.T, blocks []*types.Block) {
	t.Helper()
	executor := evm.NewExecutor(n.genesis.Config)
	parent := n.genesis.ToBlock().Header()
	for _, block := range blocks {
		result := executor.Execute(t.Context(), evm.Job{
			Block: block, Parent: parent, State: trie.Open(t.Context(), parent.Root, n.states, nil), Headers: ancestorsOf{n},
		})
		if result.Outcome != evm.Valid {
			t.Fatalf("block %d: %v %v", block.NumberU64(), result.Outcome, result.Err)
		}
		_ = n.states.PutNodes(result.Nodes)
		parent = block.Header()
	}
}

type ancestorsOf struct{ n *network }

func (a ancestorsOf) Header(_ context.Context, hash common.Hash, _ uint64) (*types.Header, error) {
	if block := a.n.block(hash); block != nil {
		return block.Header(), nil
	}
	return nil, trie.ErrUnavailable
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
			<-ctx.Done() // nobody has it: asked for as long as the caller likes
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

func (s networkSession) Stats() Stats { return Stats{} }

func (s networkSession) FetchNode(ctx context.Context, f trie.Fault) ([]byte, error) {
	if err := s.answer(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.asked++
	s.mu.Unlock()
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
	log      *lockedBuffer
	ran      chan error
}

// lockedBuffer holds a log.
type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *lockedBuffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(line)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// inImporterBubble runs a test of a fresh, running importer in virtual time.
func inImporterBubble(t *testing.T, length int, maxLag uint64, test func(f *fixture)) {
	t.Helper()
	inBubbleOn(t, newNetwork(t, params.MergedTestChainConfig, length), maxLag, test)
}

// inBubbleOn does so on a network that is there.
func inBubbleOn(t *testing.T, n *network, maxLag uint64, test func(f *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		disk, err := db.OpenMemory(db.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer disk.Close()
		blocks, err := chain.New(disk.Chain(), n.genesis)
		if err != nil {
			t.Fatal(err)
		}
		n.set(100*time.Millisecond, false)
		local := trie.NewCache(16<<20, nil)
		f := &fixture{network: n, t: t, chain: blocks, log: new(lockedBuffer), ran: make(chan error, 1)}
		f.importer = NewImporter(ImporterConfig{
			Chain: blocks, Executor: evm.NewExecutor(n.genesis.Config), Local: local, Blocks: n,
			Session: func() StateSession { return networkSession{n, local} },
			MaxLag:  maxLag, Log: slog.New(slog.NewTextHandler(f.log, nil)), Registerer: prometheus.NewRegistry(),
		})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { f.ran <- f.importer.Run(ctx) }()
		test(f)
		cancel()
		if err := <-f.ran; err != nil {
			t.Errorf("importer: %v", err)
		}
	})
}

func (f *fixture) at(number int) *types.Block { return f.blocks[number-1] }

// payload gives a block with some patience and returns the status.
func (f *fixture) payload(block *types.Block, patience time.Duration) engine.PayloadStatusV1 {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	status, err := f.importer.NewPayload(ctx, block)
	if err != nil {
		f.t.Fatalf("block %d: %v", block.NumberU64(), err)
	}
	return status
}

func (f *fixture) choose(head, safe, final common.Hash, patience time.Duration) (engine.PayloadStatusV1, error) {
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	return f.importer.Forkchoice(ctx, engine.ForkchoiceStateV1{HeadBlockHash: head, SafeBlockHash: safe, FinalizedBlockHash: final})
}

func (f *fixture) want(what string, status engine.PayloadStatusV1, want string) {
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
		f.want("payload", f.payload(block, time.Minute), engine.VALID)
		status, err := f.choose(block.Hash(), common.Hash{}, common.Hash{}, time.Minute)
		if err != nil {
			f.t.Fatal(err)
		}
		f.want("head", status, engine.VALID)
	}
}

func (f *fixture) head(want *types.Block) {
	f.t.Helper()
	if got := f.chain.CurrentHeader(); got.Hash() != want.Hash() {
		f.t.Fatalf("head is %d %x, want %d", got.Number, got.Hash(), want.NumberU64())
	}
}

// TestBeamingBegins: the first block of a fresh node needs its parent's header and no ancestor.
func TestBeamingBegins(t *testing.T) {
	inImporterBubble(t, 60, 30, func(f *fixture) {
		f.want("first block", f.payload(f.at(50), time.Minute), engine.VALID)
		f.follow(50, 60)
		if got := f.importer.metrics; testutil.ToFloat64(got.pivots.WithLabelValues(pivotLag)) != 0 {
			t.Error("beginning to beam was counted as a pivot")
		}
		if f.chain.Status(f.at(48).Hash()) != chain.Unknown {
			t.Error("block 48 was executed or fetched without need")
		}
	})
}

// TestInvalidBeginning: while the first block is in work, what stands on it waits for it and falls
// with it, although a fresh node would execute any block on any parent.
func TestInvalidBeginning(t *testing.T) {
	inImporterBubble(t, 52, 30, func(f *fixture) {
		header := types.CopyHeader(f.at(50).Header())
		header.GasUsed++
		bad := types.NewBlockWithHeader(header).WithBody(*f.at(50).Body())
		header = types.CopyHeader(f.at(51).Header())
		header.ParentHash = bad.Hash()
		child := types.NewBlockWithHeader(header).WithBody(*f.at(51).Body())
		statuses := make(chan engine.PayloadStatusV1, 2)
		for _, block := range []*types.Block{bad, child} {
			go func() { statuses <- f.payload(block, time.Minute) }()
			synctest.Wait()
		}
		for range 2 {
			status := <-statuses
			f.want("bad beginning", status, engine.INVALID)
			if status.LatestValidHash != nil {
				t.Errorf("latestValidHash %x, but nothing valid is known", *status.LatestValidHash)
			}
		}
		f.want("good beginning", f.payload(f.at(52), time.Minute), engine.VALID)
	})
}

// TestPatience: the answer comes before the caller's patience ends, the outcome later.
func TestPatience(t *testing.T) {
	inImporterBubble(t, 5, 30, func(f *fixture) {
		f.set(100*time.Millisecond, true)
		began := time.Now()
		f.want("mute network", f.payload(f.at(5), 4*time.Second), engine.SYNCING)
		if took := time.Since(began); took != 4*time.Second {
			t.Errorf("answered after %v", took)
		}
		if status := f.importer.Status(); len(status.Pending) != 1 || status.Pending[0].Stage == "queued" || status.Newest != 5 {
			t.Errorf("status while waiting: %+v", status)
		}
		f.set(100*time.Millisecond, false)
		f.want("asked again", f.payload(f.at(5), time.Minute), engine.VALID)
	})
}

// TestMissingAncestors: a gap within the lag is filled and executed.
func TestMissingAncestors(t *testing.T) {
	inImporterBubble(t, 30, 10, func(f *fixture) {
		f.follow(10, 10)
		f.want("8 blocks later", f.payload(f.at(18), time.Minute), engine.VALID)
		for number := 11; number <= 18; number++ {
			if f.chain.Status(f.at(number).Hash()) != chain.Executed {
				t.Errorf("block %d was not executed", number)
			}
		}
		// Blocks that are given out of order wait for their parents.
		done := make(chan engine.PayloadStatusV1, 4)
		for _, number := range []int{22, 21, 20, 19} {
			go func() { done <- f.payload(f.at(number), time.Minute) }()
		}
		for range 4 {
			f.want("out of order", <-done, engine.VALID)
		}
	})
}

// TestPivot: too far behind, the work in hand is dropped and the newest head executed.
func TestPivot(t *testing.T) {
	inImporterBubble(t, 40, 10, func(f *fixture) {
		f.follow(10, 10)
		f.set(100*time.Millisecond, true)
		f.want("stalled", f.payload(f.at(11), time.Second), engine.SYNCING)
		f.want("stalled", f.payload(f.at(12), time.Second), engine.SYNCING)
		f.set(100*time.Millisecond, false)
		f.set(10*time.Second, false) // block 11 would take minutes
		begun := make(chan engine.PayloadStatusV1, 1)
		go func() { begun <- f.payload(f.at(35), time.Hour) }()
		f.want("far ahead", <-begun, engine.VALID)
		synctest.Wait()
		f.pivoted(pivotLag)
		if log := f.log.String(); !strings.Contains(log, "dropped=2") || strings.Count(log, "given up for a newer head") != 2 {
			t.Errorf("the log does not say what was dropped:\n%s", log)
		}
		if status, err := f.choose(f.at(35).Hash(), common.Hash{}, common.Hash{}, time.Minute); err != nil || status.Status != engine.VALID {
			t.Fatalf("head after the pivot: %v %v", status.Status, err)
		}
		f.head(f.at(35))
		f.set(time.Millisecond, false)
		f.follow(36, 40)
	})
}

// TestPivotUnconnected: a chain that meets nothing executed within the lag is begun anew.
func TestPivotUnconnected(t *testing.T) {
	inImporterBubble(t, 12, 2, func(f *fixture) {
		f.follow(10, 11)
		f.want("side chain", f.payload(f.side[2], time.Hour), engine.VALID)
		f.pivoted(pivotUnconnected)
		f.follow(12, 12)
	})
}

// pivoted expects one pivot, for that reason, or none.
func (f *fixture) pivoted(why string) {
	f.t.Helper()
	for _, reason := range []string{pivotLag, pivotUnconnected} {
		want := 0
		if reason == why {
			want = 1
		}
		if n := testutil.ToFloat64(f.importer.metrics.pivots.WithLabelValues(reason)); n != float64(want) {
			f.t.Errorf("%v pivots for %q counted, want %d", n, reason, want)
		}
		if n := strings.Count(f.log.String(), "Pivot to the newest head\" reason="+reason+" "); n != want {
			f.t.Errorf("%d pivots for %q in the log, want %d:\n%s", n, reason, want, f.log)
		}
	}
}

// TestStalledNetwork: when nobody answers for two slots, blocks are late, and nothing is skipped.
func TestStalledNetwork(t *testing.T) {
	const slot = 12 * time.Second
	inImporterBubble(t, 16, DefaultMaxLag, func(f *fixture) {
		f.follow(10, 11)
		f.set(0, true)
		time.AfterFunc(25*time.Second, func() { f.set(100*time.Millisecond, false) })
		for number := 12; number <= 13; number++ {
			f.want("stalled", f.payload(f.at(number), 8*time.Second), engine.SYNCING)
			if status, err := f.choose(f.at(number).Hash(), common.Hash{}, common.Hash{}, time.Second); err != nil || status.Status != engine.SYNCING {
				f.t.Fatal(status, err)
			}
			if lag, want := f.importer.lag(), uint64(number-11); lag != want {
				f.t.Errorf("lag %d at block %d, want %d", lag, number, want)
			}
			time.Sleep(slot - 9*time.Second)
		}
		began := time.Now()
		f.follow(14, 16)
		if took := time.Since(began); took > slot {
			f.t.Errorf("caught up after %v", took)
		}
		for number := 12; number <= 16; number++ {
			if status := f.chain.Status(f.at(number).Hash()); status != chain.Executed {
				f.t.Errorf("block %d was skipped", number)
			}
		}
		f.pivoted("")
	})
}

// TestInvalid: a bad block and what stands on it are INVALID, with the right latestValidHash.
func TestInvalid(t *testing.T) {
	inImporterBubble(t, 12, 30, func(f *fixture) {
		f.follow(10, 11)
		header := types.CopyHeader(f.at(12).Header())
		header.Root = common.Hash{0xba, 0xd0}
		bad := types.NewBlockWithHeader(header).WithBody(*f.at(12).Body())
		child := types.CopyHeader(f.at(12).Header())
		child.ParentHash, child.Number, child.Time = bad.Hash(), big.NewInt(13), bad.Time()+12
		on := types.NewBlockWithHeader(child).WithBody(*f.at(12).Body())
		grandchild := types.CopyHeader(child)
		grandchild.ParentHash, grandchild.Number, grandchild.Time = on.Hash(), big.NewInt(14), on.Time()+12
		onTop := types.NewBlockWithHeader(grandchild).WithBody(*f.at(12).Body())
		for at, block := range []*types.Block{bad, on, onTop, bad, onTop} {
			what := fmt.Sprintf("call %d", at)
			status := f.payload(block, time.Minute)
			f.want(what, status, engine.INVALID)
			if status.LatestValidHash == nil || *status.LatestValidHash != f.at(11).Hash() {
				t.Errorf("%s: latestValidHash %v, want block 11", what, status.LatestValidHash)
			}
		}
		status, err := f.choose(bad.Hash(), common.Hash{}, common.Hash{}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		f.want("bad head", status, engine.INVALID)
		f.head(f.at(11))
		f.follow(12, 12) // the good block of that number
	})
}

// TestBodyMismatch: a wrong body under a good hash says nothing about the hash.
func TestBodyMismatch(t *testing.T) {
	inImporterBubble(t, 11, 30, func(f *fixture) {
		f.follow(10, 10)
		wrong := types.NewBlockWithHeader(f.at(11).Header()).WithBody(*f.at(10).Body())
		f.want("wrong body", f.payload(wrong, time.Minute), engine.INVALID)
		f.want("right body", f.payload(f.at(11), time.Minute), engine.VALID)
	})
}

// TestChosenBeforeExecuted: a choice that was answered SYNCING takes effect with the outcome, unless
// another one came in between.
func TestChosenBeforeExecuted(t *testing.T) {
	inImporterBubble(t, 12, 30, func(f *fixture) {
		f.follow(9, 9)
		f.set(100*time.Millisecond, true)
		f.want("payload", f.payload(f.at(10), time.Second), engine.SYNCING)
		status, err := f.choose(f.at(10).Hash(), common.Hash{}, common.Hash{}, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		f.want("early choice", status, engine.SYNCING)
		f.set(100*time.Millisecond, false)
		time.Sleep(time.Minute)
		f.head(f.at(10))

		f.set(100*time.Millisecond, true)
		f.payload(f.at(11), time.Second)
		_, _ = f.choose(f.at(11).Hash(), common.Hash{}, common.Hash{}, time.Second)
		_, _ = f.choose(f.at(10).Hash(), common.Hash{}, common.Hash{}, time.Second)
		f.set(100*time.Millisecond, false)
		time.Sleep(time.Minute)
		if f.chain.Status(f.at(11).Hash()) != chain.Executed {
			t.Fatal("block 11 was not executed")
		}
		f.head(f.at(10))
	})
}

// TestUnknownHead: a head that was never a payload is fetched by its hash.
func TestUnknownHead(t *testing.T) {
	inImporterBubble(t, 12, 30, func(f *fixture) {
		f.follow(9, 9)
		status, err := f.choose(f.at(12).Hash(), common.Hash{}, common.Hash{}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		f.want("unknown head", status, engine.VALID)
		f.head(f.at(12))
		began := time.Now()
		status, err = f.choose(common.Hash{0xaa}, common.Hash{}, common.Hash{}, 3*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		f.want("a head that nobody has", status, engine.SYNCING)
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("answered after %v", took)
		}
	})
}

// TestReorg: the head moves to a side chain and back.
func TestReorg(t *testing.T) {
	inImporterBubble(t, 4, 30, func(f *fixture) {
		f.follow(1, 4)
		for _, block := range f.side {
			f.want("side", f.payload(block, time.Minute), engine.VALID)
		}
		tip := f.side[len(f.side)-1]
		if _, err := f.choose(tip.Hash(), common.Hash{}, common.Hash{}, time.Minute); err != nil {
			t.Fatal(err)
		}
		f.head(tip)
		if f.chain.CanonicalHash(2) != f.side[0].Hash() {
			t.Error("the canonical chain is still the old one")
		}
		if _, err := f.choose(f.at(4).Hash(), common.Hash{}, common.Hash{}, time.Minute); err != nil {
			t.Fatal(err)
		}
		f.head(f.at(4))
		if n := testutil.ToFloat64(f.importer.metrics.reorgs); n != 2 {
			t.Errorf("%v reorgs counted", n)
		}
	})
}

// TestMarkers: safe and finalized blocks from before beaming began are no error, and found;
// those of another branch are refused.
func TestMarkers(t *testing.T) {
	inImporterBubble(t, 50, 30, func(f *fixture) {
		f.follow(45, 46)
		status, err := f.choose(f.at(46).Hash(), f.at(40).Hash(), f.at(20).Hash(), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		f.want("markers below the beginning", status, engine.VALID)
		time.Sleep(time.Minute)
		if final := f.chain.Finalized(); final == nil || final.Hash() != f.at(20).Hash() {
			t.Errorf("finalized is %v, want block 20", final)
		}
		if safe := f.chain.Safe(); safe == nil || safe.Hash() != f.at(40).Hash() {
			t.Errorf("safe is %v, want block 40", safe)
		}
		f.follow(47, 50)
		_, err = f.choose(f.at(47).Hash(), f.at(50).Hash(), f.at(20).Hash(), time.Minute)
		var refused *engine.EngineAPIError
		if !errors.As(err, &refused) || refused.ErrorCode() != engine.InvalidForkChoiceState.ErrorCode() {
			t.Errorf("a safe block above the head: %v", err)
		}
	})
}
