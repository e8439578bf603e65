package backfill_test

import (
	"context"
	"encoding/binary"
	"log/slog"
	"math/big"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus/beacon"
	"github.com/ethereum/go-ethereum/consensus/ethash"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	"github.com/ethereum/go-ethereum/eth/protocols/snap"
	"github.com/ethereum/go-ethereum/ethdb/leveldb"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rlp"
	gethtrie "github.com/ethereum/go-ethereum/trie"
	"github.com/ethereum/go-ethereum/triedb"
	"github.com/ethereum/go-ethereum/triedb/pathdb"

	"github.com/sunbeam-eth/sunbeam/beamsync/backfill"
	"github.com/sunbeam-eth/sunbeam/beamsync/fetch"
	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/p2p"
	"github.com/sunbeam-eth/sunbeam/trie"
)

const (
	oracleBlocks   = 112 // the last ones change the state; a scan begins within them
	oracleQuiet    = 98
	oracleAccounts = 2500
	oracleSlots    = 12_000 // of the large contract: more than one answer
)

var (
	oracleKey, _ = crypto.HexToECDSA("b71c71a67e1177ad4e901695e1b4b9ee17ae16c6668d313eac2f96dbcda3f291")
	large        = common.HexToAddress("0x1a49e")
)

// oracle is go-ethereum's own chain, and what its protocol handlers want of a node.
type oracle struct{ *core.BlockChain }

type snapOracle struct{ oracle }

func (o oracle) Chain() *core.BlockChain { return o.BlockChain }

func (o oracle) TxPool() eth.TxPool { return nil }

func (o oracle) BlobPool() eth.BlobPool { return nil }

func (o oracle) AcceptTxs() bool { return false }

func (o oracle) RunPeer(peer *eth.Peer, h eth.Handler) error { return h(peer) }

func (o oracle) PeerInfo(enode.ID) any { return nil }

func (o oracle) Handle(*eth.Peer, eth.Packet) error { return nil }

func (o snapOracle) RunPeer(peer *snap.Peer, h snap.Handler) error { return h(peer) }

func (o snapOracle) Handle(*snap.Peer, snap.Packet) error { return nil }

func (o oracle) Header(hash common.Hash) *types.Header { return o.GetHeaderByHash(hash) }

func (o oracle) HeaderByNumber(number uint64) *types.Header { return o.GetHeaderByNumber(number) }

func (o oracle) Block(hash common.Hash) *types.Block { return o.GetBlockByHash(hash) }

func (o oracle) Receipts(hash common.Hash) types.Receipts { return o.GetReceiptsByHash(hash) }

func (o oracle) AccessList(common.Hash) rlp.RawValue { return nil }

func (o oracle) Oldest() uint64 { return 0 }

func (o oracle) target(number uint64) backfill.Target {
	return backfill.Target{Root: o.HeaderByNumber(number).Root, Number: number, Seed: o.GetCanonicalHash(number - number%backfill.SeedInterval)}
}

// newOracle builds the chain. It is on disk: a memory database sorts all its keys for each iterator.
func newOracle(t *testing.T) oracle {
	t.Helper()
	kv, err := leveldb.New(t.TempDir(), 16, 16, "", false)
	if err != nil {
		t.Fatal(err)
	}
	alloc := make(types.GenesisAlloc)
	sender := crypto.PubkeyToAddress(oracleKey.PublicKey)
	alloc[sender] = types.Account{Balance: new(big.Int).Lsh(common.Big1, 100)}
	store := []byte{0x5f, 0x35, 0x5f, 0x35, 0x55, 0x60, 0x20, 0x35, 0x5f, 0x35, 0x5f, 0x1a, 0x55, 0x00} // two sstores
	slots := func(n int) map[common.Hash]common.Hash {
		storage := make(map[common.Hash]common.Hash)
		for i := range n {
			storage[common.BigToHash(big.NewInt(int64(i)))] = common.BigToHash(big.NewInt(int64(1 + i*i%300)))
		}
		return storage
	}
	alloc[large] = types.Account{Code: store, Storage: slots(oracleSlots), Balance: common.Big1}
	for i := range oracleAccounts {
		account := types.Account{Balance: big.NewInt(int64(i + 1))}
		if i%20 == 0 {
			account.Code = append(slices.Clone(store), byte(i%97))
			account.Storage = slots(1 + i%250) // many of them alike
		}
		alloc[common.BigToAddress(big.NewInt(int64(0x1000000+i)))] = account
	}
	config := *params.MergedTestChainConfig
	config.CancunTime, config.PragueTime, config.OsakaTime, config.BlobScheduleConfig = nil, nil, nil, nil // an empty block changes nothing
	genesis := &core.Genesis{Config: &config, Alloc: alloc, GasLimit: 30_000_000, Difficulty: common.Big0}
	engine := beacon.New(ethash.NewFaker())
	signer := types.LatestSigner(genesis.Config)
	_, blocks, _ := core.GenerateChainWithGenesis(genesis, engine, oracleBlocks, func(i int, gen *core.BlockGen) {
		if i < oracleQuiet {
			return
		}
		for n := range 8 {
			to := large
			if n%2 == 1 {
				to = common.BigToAddress(big.NewInt(int64(0x1000000 + (i*40+n*35)%oracleAccounts)))
			}
			gen.AddTx(types.MustSignNewTx(oracleKey, signer, &types.DynamicFeeTx{
				ChainID: genesis.Config.ChainID, Nonce: gen.TxNonce(sender), To: &to, Gas: 400_000, GasFeeCap: gen.BaseFee(), GasTipCap: common.Big0,
				Data: common.BigToHash(new(big.Int).SetBytes(binary.BigEndian.AppendUint64(nil, uint64(1000*i+n)))).Bytes(),
			}))
		}
	})
	//nolint:forbidigo // the oracle holds the whole state
	chain, err := core.NewBlockChain(rawdb.NewDatabase(kv), genesis, engine, &core.BlockChainConfig{
		StateScheme: rawdb.PathScheme, TrieTimeLimit: 5 * time.Minute, NoPrefetch: true, SnapshotLimit: 64, SnapshotWait: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		chain.Stop()
		kv.Close()
	})
	if _, err = chain.InsertChain(blocks); err != nil {
		t.Fatal(err)
	}
	return oracle{chain}
}

// connect runs one of our peers against go-ethereum's handlers.
func (o oracle) connect(t *testing.T, id string) *p2p.Peer {
	t.Helper()
	ethOurs, ethTheirs := gethp2p.MsgPipe()
	snapOurs, snapTheirs := gethp2p.MsgPipe()
	head := o.CurrentHeader()
	go func() {
		defer ethTheirs.Close()
		peer := eth.NewPeer(69, gethp2p.NewPeer(enode.ID{1}, "ours", nil), ethTheirs, nil, nil, o.Config())
		defer peer.Close()
		if peer.Handshake(7, o, eth.BlockRangeUpdatePacket{LatestBlock: head.Number.Uint64(), LatestBlockHash: head.Hash()}) == nil {
			_ = eth.Handle(o, peer) // ends with the pipe
		}
	}()
	go func() {
		defer snapTheirs.Close()
		peer := snap.NewPeer(snap.SNAP1, gethp2p.NewPeer(enode.ID{1}, "ours", nil), snapTheirs)
		defer peer.Close()
		_ = snap.Handle(snapOracle{o}, peer) // ends with the pipe
	}()
	joined := make(chan struct{})
	client := p2p.NewPeer(p2p.Link{ID: id, Version: 69, Eth: ethOurs, Snap: snapOurs},
		p2p.PeerConfig{NetworkID: 7, Chain: o, OnJoin: func(*p2p.Peer) { close(joined) }})
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- client.Run(ctx); close(over) }()
	t.Cleanup(func() {
		cancel()
		for range over {
		}
	})
	select {
	case <-joined:
	case err := <-over:
		t.Fatalf("no join: %v", err)
	}
	return client
}

// node is our side: stores on disk, a fetcher, and a backfill.
type node struct {
	t        *testing.T
	dir      string
	db       *db.DB
	backfill *backfill.Backfill
	blames   chan string
	stop     func()
}

func (n *node) Blame(peer string, reason peer.Blame, _ string) {
	n.blames <- peer + " " + reason.String()
}

func startNode(t *testing.T, dir string, recent func() (backfill.Target, bool), peers ...backfill.RangePeer) *node {
	t.Helper()
	d, err := db.Open(dir, db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, dir: dir, db: d, blames: make(chan string, 1000)}
	fetcher := fetch.New(fetch.Config{Local: d.Hot(), Blamer: n})
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	n.backfill = backfill.New(backfill.Config{
		Complete: d.Complete(), Writer: func() trie.CompleteWriter { return d.Complete().Writer() }, Local: d.Hot(), Source: fetcher.Session(sched.Background),
		Recent: recent, Blamer: n, Log: log,
	})
	for _, p := range peers {
		if p, ok := p.(peer.Peer); ok {
			fetcher.Join(p)
		}
		n.backfill.Join(p)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		if err := fetcher.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	group.Go(func() {
		if err := n.backfill.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	n.stop = sync.OnceFunc(func() {
		cancel()
		group.Wait()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(n.stop)
	return n
}

// complete waits for the end and lets go-ethereum check what is on disk.
func (n *node) complete(root common.Hash) backfill.Progress {
	n.t.Helper()
	select {
	case <-n.backfill.Done():
	case <-time.After(30 * time.Second):
		n.t.Fatalf("not complete: %+v", n.backfill.Progress())
	}
	if got, ok := n.backfill.Root(); !ok || got != root {
		n.t.Fatalf("complete is %x, want %x", got, root)
	}
	n.stop()
	verify(n.t, filepath.Join(n.dir, "geth", "chaindata"), root)
	return n.backfill.Progress()
}

// verify opens chaindata with go-ethereum's path database, reads everything, and counts: what is
// not reachable must not be there.
func verify(t *testing.T, chaindata string, root common.Hash) {
	t.Helper()
	kv, err := leveldb.New(chaindata, 16, 16, "", false)
	if err != nil {
		t.Fatal(err)
	}
	defer kv.Close()
	present := make(map[byte]int)
	it := kv.NewIterator(nil, nil)
	for it.Next() {
		present[it.Key()[0]]++
	}
	it.Release()
	config := *pathdb.Defaults
	config.SnapshotNoBuild = true
	tdb := triedb.NewDatabase(rawdb.NewDatabase(kv), &triedb.Config{PathDB: &config})
	defer tdb.Close()
	if err := tdb.Enable(root); err != nil {
		t.Fatal(err)
	}
	count := func(id *gethtrie.ID, leaf func(key, value []byte)) (nodes int) {
		tr, err := gethtrie.New(id, tdb)
		if err != nil {
			t.Fatal(err)
		}
		nit, err := tr.NodeIterator(nil)
		if err != nil {
			t.Fatal(err)
		}
		for nit.Next(true) {
			if nit.Hash() != (common.Hash{}) {
				nodes++
			}
			if nit.Leaf() && leaf != nil {
				leaf(nit.LeafKey(), nit.LeafBlob())
			}
		}
		if err := nit.Error(); err != nil {
			t.Fatal(err)
		}
		return nodes
	}
	var storage int
	codes := make(map[common.Hash]bool)
	accounts := count(gethtrie.StateTrieID(root), func(key, value []byte) {
		var account types.StateAccount
		if err := rlp.DecodeBytes(value, &account); err != nil {
			t.Fatal(err)
		}
		if account.Root != types.EmptyRootHash {
			storage += count(gethtrie.StorageTrieID(root, common.Hash(key), account.Root), nil)
		}
		if code := common.Hash(account.CodeHash); code != types.EmptyCodeHash {
			codes[code] = true
			if crypto.Keccak256Hash(rawdb.ReadCode(kv, code)) != code {
				t.Fatalf("code %x is not there", code)
			}
		}
	})
	if accounts != present['A'] || storage != present['O'] {
		t.Errorf("%d account and %d storage nodes are on disk, %d and %d of them reachable", present['A'], present['O'], accounts, storage)
	}
	t.Logf("%d account nodes, %d storage nodes, %d codes", accounts, storage, len(codes))
}

func staysAt(target backfill.Target) func() (backfill.Target, bool) {
	return func() (backfill.Target, bool) { return target, true }
}

// TestBackfill collects states from go-ethereum's own handlers over a pipe.
func TestBackfill(t *testing.T) {
	o := newOracle(t)
	t.Run("honest", func(t *testing.T) { honest(t, o) })
	t.Run("killed", func(t *testing.T) { killed(t, o) })
	t.Run("head moves", func(t *testing.T) { headMoves(t, o) })
	for name, lie := range lies {
		if testing.Short() && !slices.Contains(shortLies, name) {
			continue
		}
		t.Run(name, func(t *testing.T) { lied(t, o, lie) })
	}
	t.Run("short", func(t *testing.T) { short(t, o) })
	t.Run("no ranges", func(t *testing.T) { noRanges(t, o) })
}

func honest(t *testing.T, o oracle) {
	target := o.target(oracleBlocks)
	n := startNode(t, t.TempDir(), staysAt(target), o.connect(t, "a"), o.connect(t, "b"))
	p := n.complete(target.Root)
	if p.Accounts < oracleAccounts || p.Slots < oracleSlots || p.Share < 0.999999 || p.Restarts != 0 {
		t.Errorf("progress %+v", p)
	}
	if len(n.blames) > 0 {
		t.Errorf("an honest peer was blamed: %s", <-n.blames)
	}
}

// gated lets a number of range requests through and then stands still.
type gated struct {
	*p2p.Peer
	left atomic.Int64
}

func (g *gated) pass(ctx context.Context) error {
	if g.left.Add(-1) >= 0 {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (g *gated) AccountLeaves(ctx context.Context, root, origin, limit common.Hash, maxBytes uint64) ([]common.Hash, [][]byte, [][]byte, error) {
	if err := g.pass(ctx); err != nil {
		return nil, nil, nil, err
	}
	return g.Peer.AccountLeaves(ctx, root, origin, limit, maxBytes)
}

func (g *gated) StorageLeaves(ctx context.Context, root common.Hash, accounts []common.Hash, origin, limit common.Hash, maxBytes uint64) ([][]common.Hash, [][][]byte, [][]byte, error) {
	if err := g.pass(ctx); err != nil {
		return nil, nil, nil, err
	}
	return g.Peer.StorageLeaves(ctx, root, accounts, origin, limit, maxBytes)
}

// killed: a node that ends in mid-walk, again and again and each time at another state, goes on where it was.
func killed(t *testing.T, o oracle) {
	dir := t.TempDir()
	var slots uint64
	for life := range 4 {
		peer := &gated{Peer: o.connect(t, "a")}
		peer.left.Store(int64(2 + 2*life))
		n := startNode(t, dir, staysAt(o.target(uint64(100+2*life))), peer)
		for deadline := time.Now().Add(10 * time.Second); peer.left.Load() > 0 && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
		n.stop()
		slots += n.backfill.Progress().Slots
	}
	target := o.target(oracleBlocks)
	n := startNode(t, dir, staysAt(target), o.connect(t, "a"))
	p := n.complete(target.Root)
	t.Logf("%d slots before the last kill, %d after", slots, p.Slots)
}

// headMoves: the walk begins anew when a scan does, and completes the newer state.
func headMoves(t *testing.T, o oracle) {
	var number atomic.Uint64
	number.Store(100)
	peer := &gated{Peer: o.connect(t, "a")}
	peer.left.Store(4)
	n := startNode(t, t.TempDir(), func() (backfill.Target, bool) { return o.target(number.Load()), number.Load() > 0 }, peer)
	for deadline := time.Now().Add(10 * time.Second); peer.left.Load() >= 0 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	number.Store(108)
	peer.left.Store(1 << 30)
	p := n.complete(o.target(108).Root)
	if p.Restarts != 1 || p.Number != 108 {
		t.Errorf("progress %+v", p)
	}
}

// liar changes what it answers.
type liar struct {
	*p2p.Peer
	change func(*ranges)
}

// ranges is an answer to a request for ranges: of accounts in one list, of storage in several.
type ranges struct {
	accounts bool
	keys     [][]common.Hash
	values   [][][]byte
	proof    [][]byte
}

// some changes every list of more than a few leaves.
func some(change func(keys *[]common.Hash, values *[][]byte)) func(*ranges) {
	return func(r *ranges) {
		for i := range r.keys {
			if len(r.keys[i]) > 8 {
				change(&r.keys[i], &r.values[i])
			}
		}
	}
}

// shortLies are tested always; package trie tests all kinds without a network.
var shortLies = []string{"one left out", "one before the origin", "storage of another account", "cut without a proof"}

var lies = map[string]func(*ranges){
	"one left out": some(func(keys *[]common.Hash, values *[][]byte) {
		i := len(*keys) / 2
		*keys, *values = slices.Delete(*keys, i, i+1), slices.Delete(*values, i, i+1)
	}),
	"wrong order": some(func(keys *[]common.Hash, _ *[][]byte) { (*keys)[0], (*keys)[1] = (*keys)[1], (*keys)[0] }),
	"one too many": some(func(keys *[]common.Hash, values *[][]byte) {
		key := (*keys)[0]
		key[31]++
		*keys, *values = slices.Insert(*keys, 1, key), slices.Insert(*values, 1, (*values)[0])
	}),
	"one before the origin": some(func(keys *[]common.Hash, values *[][]byte) {
		*keys, *values = slices.Insert(*keys, 0, common.Hash{}), slices.Insert(*values, 0, (*values)[0])
	}),
	"another value": some(func(_ *[]common.Hash, values *[][]byte) { (*values)[0] = (*values)[1] }),
	"one slot left out": func(r *ranges) {
		if n := len(r.keys); !r.accounts && n > 0 && len(r.keys[n-1]) > 2 {
			r.keys[n-1], r.values[n-1] = slices.Delete(r.keys[n-1], 1, 2), slices.Delete(r.values[n-1], 1, 2)
		}
	},
	"storage of another account": func(r *ranges) {
		if n := len(r.keys); n > 2 {
			r.keys[0], r.keys[1], r.values[0], r.values[1] = r.keys[1], r.keys[0], r.values[1], r.values[0]
		}
	},
	"cut without a proof": func(r *ranges) {
		if n := len(r.keys); n > 0 && len(r.keys[n-1]) > 8 {
			r.keys[n-1], r.values[n-1], r.proof = r.keys[n-1][:1], r.values[n-1][:1], nil
		}
	},
}

func (l *liar) AccountLeaves(ctx context.Context, root, origin, limit common.Hash, maxBytes uint64) ([]common.Hash, [][]byte, [][]byte, error) {
	keys, values, proof, err := l.Peer.AccountLeaves(ctx, root, origin, limit, maxBytes)
	if err != nil {
		return nil, nil, nil, err
	}
	r := ranges{accounts: true, keys: [][]common.Hash{keys}, values: [][][]byte{values}, proof: proof}
	l.change(&r)
	return r.keys[0], r.values[0], r.proof, nil
}

func (l *liar) StorageLeaves(ctx context.Context, root common.Hash, accounts []common.Hash, origin, limit common.Hash, maxBytes uint64) ([][]common.Hash, [][][]byte, [][]byte, error) {
	keys, values, proof, err := l.Peer.StorageLeaves(ctx, root, accounts, origin, limit, maxBytes)
	if err != nil {
		return nil, nil, nil, err
	}
	r := ranges{keys: keys, values: values, proof: proof}
	l.change(&r)
	return r.keys, r.values, r.proof, nil
}

// short: a peer whose answers end exactly where a subtree does, with the proof of an end that
// is somewhere else, says nothing wrong. It brings what is there.
func short(t *testing.T, o oracle) {
	target := o.target(oracleBlocks)
	n := startNode(t, t.TempDir(), staysAt(target), &liar{o.connect(t, "a"), func(r *ranges) {
		n := len(r.keys)
		if len(r.proof) == 0 || n == 0 || len(r.keys[n-1]) < 64 { // without a proof it would be a whole trie
			return
		}
		keys := r.keys[n-1]
		for end := len(keys) / 2; end > 0; end-- {
			if keys[end-1][0]>>4 != keys[end][0]>>4 || end < len(keys)/3 && keys[end-1][1] != keys[end][1] {
				r.keys[n-1], r.values[n-1] = keys[:end], r.values[n-1][:end]
				return
			}
		}
	}})
	n.complete(target.Root)
}

// lied: the liar is found and not asked again, and the state is right.
func lied(t *testing.T, o oracle, change func(*ranges)) {
	target := o.target(oracleBlocks)
	n := startNode(t, t.TempDir(), staysAt(target), &liar{o.connect(t, "a liar"), change}, o.connect(t, "b"))
	n.complete(target.Root)
	if len(n.blames) != 1 || <-n.blames != "a liar lie" {
		t.Error("the liar was not blamed, or somebody else was")
	}
}

// rangeless is a peer that answers ranges with nothing.
type rangeless struct{ *p2p.Peer }

func (rangeless) AccountLeaves(context.Context, common.Hash, common.Hash, common.Hash, uint64) ([]common.Hash, [][]byte, [][]byte, error) {
	return nil, nil, nil, nil
}

func (rangeless) StorageLeaves(context.Context, common.Hash, []common.Hash, common.Hash, common.Hash, uint64) ([][]common.Hash, [][][]byte, [][]byte, error) {
	return nil, nil, nil, nil
}

// noRanges: node by node, from a peer that has only nodes.
func noRanges(t *testing.T, o oracle) {
	target := o.target(oracleBlocks)
	n := startNode(t, t.TempDir(), staysAt(target), rangeless{o.connect(t, "a")})
	n.complete(target.Root)
}
