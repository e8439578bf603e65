package beamsync

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	gethtrie "github.com/ethereum/go-ethereum/trie"
	"github.com/ethereum/go-ethereum/trie/trienode"
	"github.com/ethereum/go-ethereum/triedb"
	"github.com/holiman/uint256"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// bag is a real state, made by go-ethereum's tries: accounts, the first few of which have
// code and storage.
type bag struct {
	root  common.Hash
	db    *triedb.Database
	codes map[common.Hash][]byte
	code  []common.Hash // the same codes, in order
}

const (
	bagAccounts  = 3000
	bagContracts = 5
	bagSlots     = 400
)

func bagAddress(i int) common.Address {
	return common.BytesToAddress(binary.BigEndian.AppendUint32([]byte{0xac}, uint32(i)))
}
func bagSlot(i int) common.Hash { return common.BigToHash(uint256.NewInt(uint64(i)).ToBig()) }
func bagValue(i int) common.Hash {
	return common.BigToHash(uint256.NewInt(uint64(i)*1_000_003 + 7).ToBig())
}

// theBag is built once; it is only read afterwards.
var theBag = sync.OnceValue(func() *bag {
	b := &bag{db: triedb.NewDatabase(rawdb.NewMemoryDatabase(), nil), codes: make(map[common.Hash][]byte)}
	all := trienode.NewMergedNodeSet()
	accounts, err := gethtrie.NewStateTrie(gethtrie.StateTrieID(types.EmptyRootHash), b.db)
	must(err)
	for i := range bagAccounts {
		account := types.NewEmptyStateAccount()
		account.Balance = uint256.NewInt(uint64(i))
		if i < bagContracts {
			code := slices.Repeat([]byte{0x60, byte(i)}, 100+i)
			hash := crypto.Keccak256Hash(code)
			b.codes[hash] = code
			b.code = append(b.code, hash)
			account.CodeHash = hash[:]
			owner := crypto.Keccak256Hash(bagAddress(i).Bytes())
			storage, err := gethtrie.NewStateTrie(gethtrie.StorageTrieID(types.EmptyRootHash, owner, types.EmptyRootHash), b.db)
			must(err)
			for s := range bagSlots {
				must(storage.UpdateStorage(bagAddress(i), bagSlot(s).Bytes(), common.TrimLeftZeroes(bagValue(s).Bytes())))
			}
			root, nodes := storage.Commit(false)
			must(all.Merge(nodes))
			account.Root = root
		}
		must(accounts.UpdateAccount(bagAddress(i), account, 0))
	}
	root, nodes := accounts.Commit(true)
	must(all.Merge(nodes))
	must(b.db.Update(root, types.EmptyRootHash, 0, all, triedb.NewStateSet()))
	b.root = root
	return b
})

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// trieNodes answers as geth's ServiceGetTrieNodesQuery does.
func (b *bag) trieNodes(root common.Hash, sets [][][]byte, maxLookups int) [][]byte {
	accounts, err := gethtrie.NewStateTrie(gethtrie.StateTrieID(root), b.db)
	if err != nil {
		return nil
	}
	var (
		nodes   [][]byte
		lookups int
	)
	for _, set := range sets {
		if len(set) == 1 {
			blob, resolved, err := accounts.GetNode(set[0])
			lookups += max(resolved, 1)
			if err == nil {
				nodes = append(nodes, blob)
			}
		} else {
			owner := common.BytesToHash(set[0])
			account, err := accounts.GetAccountByHash(owner)
			lookups += 8
			if err != nil || account == nil {
				continue
			}
			storage, err := gethtrie.NewStateTrie(gethtrie.StorageTrieID(root, owner, account.Root), b.db)
			lookups++
			if err != nil {
				continue
			}
			for _, path := range set[1:] {
				blob, resolved, err := storage.GetNode(path)
				lookups += max(resolved, 1)
				if err != nil {
					break
				}
				nodes = append(nodes, blob)
				if lookups > maxLookups {
					return nodes
				}
			}
		}
		if lookups > maxLookups {
			return nodes
		}
	}
	return nodes
}

const rtt = 100 * time.Millisecond

// fakePeer serves a bag and a chain over a link with a delay, and misbehaves on demand.
type fakePeer struct {
	id      string
	rtt     time.Duration
	lookups int // limit per request, 0: 1024
	nodes   func(root common.Hash, sets [][][]byte, maxLookups int) [][]byte
	codes   map[common.Hash][]byte
	chain   *fakeChain
	noState bool
	// mangle, if set, changes the n-th state reply, n from 0; nil means an empty one.
	mangle func(n int, blobs [][]byte) ([][]byte, error)
	// stall, if set, lets the n-th request wait until its context ends.
	stall func(n int) bool
	// slow, if set, is a longer delay of the n-th request.
	slow func(n int) time.Duration

	mu       sync.Mutex
	requests int // of state
	paths    []int
	asked    int // of the chain
	gone     chan struct{}
	head     uint64
}

func newFakePeer(id string, rtt time.Duration) *fakePeer {
	return &fakePeer{id: id, rtt: rtt, nodes: theBag().trieNodes, codes: theBag().codes, gone: make(chan struct{})}
}

func (p *fakePeer) ID() string        { return p.id }
func (p *fakePeer) ServesState() bool { return !p.noState }
func (p *fakePeer) Head() (uint64, common.Hash) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.head, common.Hash{}
}

// travel passes the time that a request takes.
func (p *fakePeer) travel(ctx context.Context, n int) error {
	rtt := p.rtt
	if p.slow != nil {
		rtt = max(rtt, p.slow(n))
	}
	timer := time.NewTimer(rtt)
	defer timer.Stop()
	arrived := timer.C
	if p.stall != nil && p.stall(n) {
		arrived = nil
	}
	select {
	case <-arrived:
		return nil
	case <-p.gone:
		return fmt.Errorf("peer gone: %w", net.ErrClosed)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *fakePeer) state(ctx context.Context, items int, reply func() [][]byte) ([][]byte, error) {
	p.mu.Lock()
	n := p.requests
	p.requests++
	p.paths = append(p.paths, items)
	p.mu.Unlock()
	if p.noState {
		return nil, errors.ErrUnsupported
	}
	if err := p.travel(ctx, n); err != nil {
		return nil, err
	}
	blobs := reply()
	if p.mangle != nil {
		return p.mangle(n, blobs)
	}
	return blobs, nil
}

func (p *fakePeer) TrieNodes(ctx context.Context, root common.Hash, sets [][][]byte, _ uint64) ([][]byte, error) {
	items := 0
	for _, set := range sets {
		if len(set) == 0 {
			return nil, errors.New("empty path set")
		}
		items += max(len(set)-1, 1)
	}
	limit := p.lookups
	if limit == 0 {
		limit = 1024
	}
	return p.state(ctx, items, func() [][]byte { return p.nodes(root, sets, limit) })
}

func (p *fakePeer) ByteCodes(ctx context.Context, hashes []common.Hash, _ uint64) ([][]byte, error) {
	return p.state(ctx, len(hashes), func() (codes [][]byte) {
		for _, h := range hashes {
			if code, ok := p.codes[h]; ok {
				codes = append(codes, code)
			}
		}
		return codes
	})
}

func (p *fakePeer) served() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests
}

// fakeChain answers questions about the chain.
type fakeChain struct {
	headers func(origin common.Hash, amount int) []*types.Header
	bodies  func(hashes []common.Hash) []*types.Body
	lists   func(hashes []common.Hash) ([]rlp.RawValue, error)
}

func (p *fakePeer) ask(ctx context.Context) error {
	p.mu.Lock()
	n := p.asked
	p.asked++
	p.mu.Unlock()
	return p.travel(ctx, n)
}

func (p *fakePeer) Headers(ctx context.Context, origin common.Hash, amount int, _ bool) ([]*types.Header, error) {
	if err := p.ask(ctx); err != nil || p.chain == nil {
		return nil, err
	}
	return p.chain.headers(origin, amount), nil
}

func (p *fakePeer) Bodies(ctx context.Context, hashes []common.Hash) ([]*types.Body, error) {
	if err := p.ask(ctx); err != nil || p.chain == nil {
		return nil, err
	}
	return p.chain.bodies(hashes), nil
}

func (p *fakePeer) Receipts(_ context.Context, _ []common.Hash) ([]types.Receipts, error) {
	return nil, errors.ErrUnsupported
}

func (p *fakePeer) AccessLists(ctx context.Context, hashes []common.Hash) ([]rlp.RawValue, error) {
	if err := p.ask(ctx); err != nil {
		return nil, err
	}
	if p.chain == nil || p.chain.lists == nil {
		return nil, errors.ErrUnsupported
	}
	return p.chain.lists(hashes)
}

// blames collects what the fetcher says of peers.
type blames struct {
	mu   sync.Mutex
	list []string
}

func (b *blames) Blame(peer string, reason Blame, _ string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.list = append(b.list, peer+":"+reason.String())
}

func (b *blames) all() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.list)
}

// rig is a running fetcher with an empty store.
type rig struct {
	*Fetcher
	t      *testing.T
	ctx    context.Context // ends with the test
	cache  *trie.Cache
	blames *blames
}

// inBubble runs a test in virtual time; everything that it started must have ended when
// it returns, or synctest fails it.
func inBubble(t *testing.T, test func(r *rig)) {
	t.Helper()
	theBag()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r := &rig{t: t, ctx: ctx, cache: trie.NewCache(64<<20, nil), blames: new(blames)}
		r.Fetcher = NewFetcher(FetcherConfig{Local: r.cache, Blamer: r.blames, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		test(r)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func (r *rig) join(peers ...*fakePeer) {
	for _, p := range peers {
		r.Join(p)
	}
	synctest.Wait()
}

func (r *rig) disconnect(p *fakePeer) {
	close(p.gone)
	r.Leave(p.id)
}

// nothing is a source that must not be asked.
type nothing struct{ t *testing.T }

func (n nothing) FetchNode(_ context.Context, f trie.Fault) ([]byte, error) {
	n.t.Errorf("%x is not held", f.Path)
	return nil, trie.ErrUnavailable
}

func (n nothing) FetchCode(context.Context, common.Hash) ([]byte, error) {
	return nil, trie.ErrUnavailable
}

// rootFault is the fault of an empty store that reads an account.
func rootFault(account int) trie.Fault {
	b := theBag()
	return trie.Fault{Root: b.root, Hash: b.root, Key: trie.Nibbles(crypto.Keccak256Hash(bagAddress(account).Bytes()))}
}

// took checks how long something took in virtual time, which is exact.
func (r *rig) took(want time.Duration, do func()) {
	r.t.Helper()
	began := time.Now()
	do()
	if got := time.Since(began); got != want {
		r.t.Errorf("took %v, want %v", got, want)
	}
}
