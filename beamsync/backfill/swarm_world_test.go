package backfill

import (
	"bytes"
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	gethtrie "github.com/ethereum/go-ethereum/trie"
	"github.com/holiman/uint256"

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// testState is a state with storage and codes.
type testState struct {
	root  common.Hash
	tries map[common.Hash]*leafTrie // by owner
	codes map[common.Hash][]byte
	nodes map[string][]byte // of all tries, by owner and path
}

type leafTrie struct {
	owner, root common.Hash
	keys        []common.Hash
	values      [][]byte
}

func numbered(n uint64, salt byte) common.Hash {
	return crypto.Keccak256Hash(append(binary.BigEndian.AppendUint64(nil, n), salt))
}

// newTestState makes a state of accounts, of which the first one has a storage of some size, every
// tenth one a small one, and every hundredth one a code. changed accounts are unlike those of salt 0.
func newTestState(accounts, largest, changed int) *testState {
	s := &testState{tries: make(map[common.Hash]*leafTrie), codes: make(map[common.Hash][]byte), nodes: make(map[string][]byte)}
	leaves := make(map[common.Hash][]byte)
	for i := range accounts {
		key := numbered(uint64(i), 0)
		account := types.StateAccount{Balance: uint256.NewInt(uint64(i)), Root: types.EmptyRootHash, CodeHash: types.EmptyCodeHash[:]}
		if i < changed {
			account.Nonce = 1
		}
		slots := 0
		if i == 0 {
			slots = largest
		} else if i%10 == 0 {
			slots = 1 + i%7
		}
		if slots > 0 {
			account.Root = s.add(key, slotsOf(slots)).root
		}
		if i%100 == 0 {
			code := bytes.Repeat([]byte{byte(i / 100)}, 2000)
			account.CodeHash = crypto.Keccak256(code)
			s.codes[common.Hash(account.CodeHash)] = code
		}
		leaves[key], _ = rlp.EncodeToBytes(&account)
	}
	s.root = s.add(common.Hash{}, leaves).root
	return s
}

func slotsOf(n int) map[common.Hash][]byte {
	slots := make(map[common.Hash][]byte, n)
	for i := range n {
		slots[numbered(uint64(i), 1)] = append([]byte{0xa0}, numbered(uint64(i), 2).Bytes()...)
	}
	return slots
}

func (s *testState) add(owner common.Hash, leaves map[common.Hash][]byte) *leafTrie {
	t := &leafTrie{owner: owner, keys: slices.SortedFunc(maps.Keys(leaves), common.Hash.Cmp)}
	st := gethtrie.NewStackTrie(func(path []byte, _ common.Hash, blob []byte) { s.nodes[pathKey(owner, path)] = bytes.Clone(blob) })
	for _, key := range t.keys {
		t.values = append(t.values, leaves[key])
		if st.Update(key[:], leaves[key]) != nil {
			panic("unsorted")
		}
	}
	t.root = st.Hash()
	s.tries[owner] = t
	return t
}

func pathKey(owner common.Hash, path []byte) string { return string(owner[:]) + string(path) }

// serve is a range as go-ethereum gives it.
func (s *testState) serve(owner, origin, limit common.Hash, size *int) (keys []common.Hash, values, proof [][]byte) {
	t := s.tries[owner]
	if t == nil {
		return nil, nil, nil
	}
	from, _ := slices.BinarySearchFunc(t.keys, origin, common.Hash.Cmp)
	to := from
	for to < len(t.keys) && *size >= 0 && (to == from || t.keys[to-1].Cmp(limit) < 0) {
		*size -= common.HashLength + len(t.values[to])
		to++
	}
	if owner == (common.Hash{}) || from > 0 || to < len(t.keys) {
		proof = prove(s.nodes, owner, nil, origin, nil)
		if to > from {
			proof = prove(s.nodes, owner, nil, t.keys[to-1], proof)
		}
	}
	return t.keys[from:to], t.values[from:to], proof
}

// prove returns the nodes from a path down to a key.
func prove(nodes map[string][]byte, owner common.Hash, path []byte, key common.Hash, proof [][]byte) [][]byte {
	nibbles := trie.Nibbles(key)
	for depth := len(path); ; {
		blob := nodes[pathKey(owner, nibbles[:depth])]
		proof = append(proof, blob)
		step, err := trie.Descend(blob, nibbles[depth:])
		if err != nil || step.Kind != trie.StepChild {
			return proof
		}
		depth += step.Depth
	}
}

// fullPeer serves states as go-ethereum does, its upload is limited.
type fullPeer struct {
	states []*testState
	delay  time.Duration
	rate   int // bytes per second

	mu       sync.Mutex
	free     time.Time
	sent     map[string]int // bytes, by who asked
	requests []fullRequest
}

type fullRequest struct {
	who    string
	owner  common.Hash
	origin common.Hash
	lookup bool // of nodes or codes
	at     time.Time
}

// fullLink is one node's connection to it.
type fullLink struct {
	*fullPeer
	who string
}

func (p fullLink) ID() string { return "full" }

func (p fullLink) ServesState() bool { return true }

// upload waits until so many bytes have come.
func (p fullLink) upload(ctx context.Context, request fullRequest, size int) error {
	p.mu.Lock()
	now := time.Now()
	if p.free.Before(now) {
		p.free = now
	}
	p.free = p.free.Add(time.Duration(size) * time.Second / time.Duration(p.rate))
	wait := p.free.Sub(now) + p.delay
	p.sent[p.who] += size
	request.who, request.at = p.who, now
	p.requests = append(p.requests, request)
	p.mu.Unlock()
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p fullLink) state(root common.Hash) *testState {
	for _, s := range p.states {
		if s.root == root {
			return s
		}
	}
	return nil
}

func (p fullLink) AccountLeaves(ctx context.Context, root, origin, limit common.Hash, maxBytes uint64) (keys []common.Hash, values, proof [][]byte, err error) {
	if s := p.state(root); s != nil {
		size := int(maxBytes)
		keys, values, proof = s.serve(common.Hash{}, origin, limit, &size)
	}
	return keys, values, proof, p.upload(ctx, fullRequest{origin: origin}, sizeOf([][]common.Hash{keys}, [][][]byte{values}, proof))
}

func (p fullLink) StorageLeaves(ctx context.Context, root common.Hash, accounts []common.Hash, origin, limit common.Hash, maxBytes uint64) (keys [][]common.Hash, values [][][]byte, proof [][]byte, err error) {
	size := int(maxBytes)
	for _, account := range accounts {
		s := p.state(root)
		if s == nil || size < 0 {
			break
		}
		k, v, pr := s.serve(account, origin, limit, &size)
		keys, values, proof = append(keys, k), append(values, v), pr
		if len(proof) > 0 {
			break
		}
	}
	return keys, values, proof, p.upload(ctx, fullRequest{owner: accounts[0], origin: origin}, sizeOf(keys, values, proof))
}

// stateSource finds nodes and codes in the full peer's states.
type stateSource struct {
	full fullLink
	mu   sync.Mutex
	held map[common.Hash][]byte
}

func (s *stateSource) FetchMany(ctx context.Context, faults []trie.Fault, codes []common.Hash) error {
	size := 0
	s.mu.Lock()
	for _, f := range faults {
		for _, state := range s.full.states {
			if blob := state.nodes[pathKey(f.Owner, f.Path)]; crypto.Keccak256Hash(blob) == f.Hash {
				s.held[f.Hash] = blob
				size += len(blob)
				break
			}
		}
		if s.held[f.Hash] == nil {
			panic("a node of no state is asked for")
		}
	}
	for _, hash := range codes {
		s.held[hash] = s.full.states[0].codes[hash]
		size += len(s.held[hash])
	}
	s.mu.Unlock()
	return s.full.upload(ctx, fullRequest{lookup: true}, size)
}

func (s *stateSource) Node(_ common.Hash, _ []byte, hash common.Hash) ([]byte, error) {
	return s.Code(hash)
}

func (s *stateSource) Code(hash common.Hash) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[hash], nil
}

func (s *stateSource) PutNodes([]trie.Node) error { return nil }

func (s *stateSource) PutCode(hash common.Hash, code []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[hash] = code
	return nil
}

// stateStore is Complete and its writer in memory.
type stateStore struct {
	source *stateSource // has the codes
	mu     sync.Mutex
	nodes  map[string][]byte
}

func (m *stateStore) Node(owner common.Hash, path []byte) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.nodes[pathKey(owner, path)], nil
}

func (m *stateStore) NextNode(owner common.Hash, from []byte) (path []byte, ok bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for at := range m.nodes {
		if at[:32] == string(owner[:]) && at >= pathKey(owner, from) && (!ok || at[32:] < string(path)) {
			path, ok = []byte(at[32:]), true
		}
	}
	return path, ok, nil
}

func (m *stateStore) NextOwner(from common.Hash) (owner common.Hash, ok bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for at := range m.nodes {
		if key := common.Hash([]byte(at[:32])); key != (common.Hash{}) && key.Cmp(from) >= 0 && (!ok || key.Cmp(owner) < 0) {
			owner, ok = key, true
		}
	}
	return owner, ok, nil
}

func (m *stateStore) HasCode(hash common.Hash) (bool, error) {
	code, err := m.source.Code(hash)
	return len(code) > 0, err
}

func (m *stateStore) Put(owner common.Hash, path, blob []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.nodes[pathKey(owner, path)] = blob
	return nil
}

func (m *stateStore) Delete(owner common.Hash, path []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.nodes, pathKey(owner, path))
	return nil
}

func (m *stateStore) DeleteNodes(owner common.Hash, from, to []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.nodes, func(at string, _ []byte) bool {
		return at[:32] == string(owner[:]) && at[32:] >= string(from) && at[32:] < string(to)
	})
	return nil
}

func (m *stateStore) DeleteOwner(owner common.Hash) error {
	return m.DeleteNodes(owner, nil, []byte{16})
}

func (m *stateStore) Flush() error { return nil }

// subtree is what a node gives away.
func (m *stateStore) subtree(want trie.NodeRef, maxBytes int) (keys []common.Hash, values, proof [][]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if crypto.Keccak256Hash(m.nodes[pathKey(want.Owner, want.Path)]) != want.Hash {
		return nil, nil, nil
	}
	var walk func(path, blob []byte) bool
	walk = func(path, blob []byte) bool {
		children, err := trie.Children(blob)
		if err != nil {
			panic(err)
		}
		for _, c := range children {
			at := slices.Concat(path, c.Path)
			if c.Value == nil {
				if !walk(at, m.nodes[pathKey(want.Owner, at)]) {
					return false
				}
				continue
			}
			if maxBytes < 0 {
				return false
			}
			key, _ := trie.KeyRange(at)
			keys, values = append(keys, key), append(values, c.Value)
			maxBytes -= common.HashLength + len(c.Value)
		}
		return true
	}
	if !walk(want.Path, m.nodes[pathKey(want.Owner, want.Path)]) {
		proof = prove(m.nodes, want.Owner, want.Path, keys[len(keys)-1], nil)
	}
	return keys, values, proof
}

// swarmNode is a node that collects, with what it is.
type swarmNode struct {
	*Backfill
	id     string
	t      *testing.T
	state  *testState
	solid  *stateStore
	world  *swarmNet
	stop   func()
	blames map[string]peer.Blame
	took   time.Duration
	got    map[string]int // bytes, by fellow
}

func (n *swarmNode) Blame(peer string, reason peer.Blame, _ string) {
	n.world.mu.Lock()
	defer n.world.mu.Unlock()
	n.blames[peer] = reason
}

// swarmNet is some of them and a full peer, all within a bubble.
type swarmNet struct {
	t     *testing.T
	full  *fullPeer
	delay time.Duration // between two of them, one way
	busy  func() bool   // whether blocks are in work; nil: never
	mu    sync.Mutex
	nodes []*swarmNode
}

func newSwarmNet(t *testing.T, rate int, states ...*testState) *swarmNet {
	return &swarmNet{t: t, delay: 50 * time.Millisecond, full: &fullPeer{states: states, delay: 100 * time.Millisecond, rate: rate, sent: make(map[string]int)}}
}

// start starts a node that collects a state, and connects it with all others.
func (w *swarmNet) start(id string, state *testState) *swarmNode {
	link := fullLink{w.full, id}
	source := &stateSource{full: link, held: make(map[common.Hash][]byte)}
	n := &swarmNode{
		id: id, t: w.t, state: state, world: w, blames: make(map[string]peer.Blame), got: make(map[string]int),
		solid: &stateStore{source: source, nodes: make(map[string][]byte)},
	}
	n.Backfill = New(Config{
		Complete: n.solid, Writer: func() trie.CompleteWriter { return n.solid }, Local: source, Source: source, Blamer: n,
		Recent: func() (Target, bool) { return Target{Root: state.root, Number: 204, Seed: common.Hash{0x77}}, true },
		Self:   id, Busy: w.busy,
		Announce: func() { w.announce(n) },
	})
	n.Join(link)
	w.mu.Lock()
	others := slices.Clone(w.nodes)
	w.nodes = append(w.nodes, n)
	w.mu.Unlock()
	for _, other := range others {
		n.Join(nodeLink{n, other})
		other.Join(nodeLink{other, n})
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	over := make(chan struct{})
	began := time.Now()
	go func() {
		defer close(over)
		if err := n.Run(ctx); err != nil {
			w.t.Error(err)
		}
		n.took = time.Since(began)
	}()
	n.stop = func() {
		cancel()
		<-over
	}
	return n
}

// announce tells all others, a delay later.
func (w *swarmNet) announce(n *swarmNode) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, other := range w.nodes {
		if other != n {
			time.AfterFunc(w.delay, func() { other.OnHave(nodeLink{other, n}) })
		}
	}
}

// leave takes a node out of the world.
func (w *swarmNet) leave(n *swarmNode) {
	n.stop()
	w.mu.Lock()
	w.nodes = slices.DeleteFunc(w.nodes, func(other *swarmNode) bool { return other == n })
	others := slices.Clone(w.nodes)
	w.mu.Unlock()
	for _, other := range others {
		other.Leave(n.id)
	}
}

// finish waits for a node and checks that it has all of the state.
func (n *swarmNode) finish(most time.Duration) {
	n.t.Helper()
	select {
	case <-n.Done():
	case <-time.After(most):
		n.t.Fatalf("%s is not complete: %+v", n.id, n.Progress())
	}
	n.stop()
	if !maps.EqualFunc(n.solid.nodes, n.state.nodes, bytes.Equal) {
		n.t.Fatalf("%s has %d nodes, want %d", n.id, len(n.solid.nodes), len(n.state.nodes))
	}
	for hash := range n.state.codes {
		if has, _ := n.solid.HasCode(hash); !has {
			n.t.Errorf("%s lacks code %x", n.id, hash)
		}
	}
}

// share is the part of a node's bytes that came from fellows.
func (n *swarmNode) share() float64 {
	fellows := 0
	n.world.mu.Lock()
	for _, bytes := range n.got {
		fellows += bytes
	}
	n.world.mu.Unlock()
	n.world.full.mu.Lock()
	defer n.world.full.mu.Unlock()
	return float64(fellows) / float64(fellows+n.world.full.sent[n.id])
}

// uploaded is what the full peer sent, in bytes.
func (w *swarmNet) uploaded() (sum int) {
	w.full.mu.Lock()
	defer w.full.mu.Unlock()
	for _, bytes := range w.full.sent {
		sum += bytes
	}
	return sum
}

// nodeLink is one node's connection to another one.
type nodeLink struct{ from, to *swarmNode }

func (l nodeLink) ID() string { return l.to.id }

func (l nodeLink) ServesState() bool { return true }

func (l nodeLink) ServesSubtrees() bool { return true }

func (l nodeLink) Have() Have { return l.to.Have() }

func (l nodeLink) trip(ctx context.Context, size int) error {
	l.from.world.mu.Lock()
	l.from.got[l.to.id] += size
	l.from.world.mu.Unlock()
	select {
	case <-time.After(2 * l.from.world.delay):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l nodeLink) Subtrees(ctx context.Context, wants []trie.NodeRef, maxBytes uint64) (keys [][]common.Hash, values [][][]byte, proof [][]byte, err error) {
	left := int(maxBytes)
	for _, want := range wants {
		if left <= 0 || len(proof) > 0 {
			break
		}
		k, v, p := l.to.solid.subtree(want, left)
		left -= sizeOf([][]common.Hash{k}, [][][]byte{v}, p)
		keys, values, proof = append(keys, k), append(values, v), p
	}
	return keys, values, proof, l.trip(ctx, sizeOf(keys, values, proof))
}

func (l nodeLink) ByteCodes(ctx context.Context, hashes []common.Hash, _ uint64) (codes [][]byte, err error) {
	size := 0
	for _, hash := range hashes {
		if code, _ := l.to.solid.source.Code(hash); len(code) > 0 {
			codes = append(codes, code)
			size += len(code)
		}
	}
	return codes, l.trip(ctx, size)
}

func (l nodeLink) AccountLeaves(context.Context, common.Hash, common.Hash, common.Hash, uint64) ([]common.Hash, [][]byte, [][]byte, error) {
	return nil, nil, nil, nil
}

func (l nodeLink) StorageLeaves(context.Context, common.Hash, []common.Hash, common.Hash, common.Hash, uint64) ([][]common.Hash, [][][]byte, [][]byte, error) {
	return nil, nil, nil, nil
}
