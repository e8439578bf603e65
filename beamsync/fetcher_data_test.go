package beamsync

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// hashPeer is a fakePeer that serves state by hash.
type hashPeer struct {
	*fakePeer
	data  func(hash common.Hash) []byte
	paths bool // and by path
}

// newHashPeer serves the bag by hash only.
func newHashPeer(id string) *hashPeer {
	nodes, err := theBag().db.NodeReader(theBag().root)
	must(err)
	return &hashPeer{fakePeer: newFakePeer(id, rtt), data: func(hash common.Hash) []byte {
		if code := theBag().codes[hash]; code != nil {
			return code
		}
		blob, _ := nodes.Node(common.Hash{}, nil, hash) // it looks at the hash only
		return blob
	}}
}

func (p *hashPeer) ServesState() bool    { return p.paths }
func (p *hashPeer) ServesNodeData() bool { return true }

// NodeData answers backwards and leaves out what is missing.
func (p *hashPeer) NodeData(ctx context.Context, hashes []common.Hash) ([][]byte, error) {
	if len(hashes) > maxData {
		return nil, errors.New("too many hashes")
	}
	return p.state(ctx, len(hashes), func() (blobs [][]byte) {
		for _, hash := range slices.Backward(hashes) {
			if blob := p.data(hash); len(blob) > 0 {
				blobs = append(blobs, blob)
			}
		}
		return blobs
	})
}

// TestHashPeer: ways are walked level by level, and all of them at a time.
func TestHashPeer(t *testing.T) {
	inBubble(t, func(r *rig) {
		peer := newHashPeer("a")
		r.Join(peer)
		faults := make([]trie.Fault, 500)
		for i := range faults {
			faults[i] = rootFault(i)
		}
		for i := range bagContracts {
			for s := range 20 {
				faults[i].Riders = append(faults[i].Riders, crypto.Keccak256Hash(bagSlot(s).Bytes()))
			}
		}
		session := r.Session(sched.Urgent)
		if err := session.FetchMany(r.ctx, faults, theBag().code); err != nil {
			t.Fatal(err)
		}
		reader, err := trie.Open(r.ctx, theBag().root, r.cache, nothing{t}).Reader(theBag().root)
		if err != nil {
			t.Fatal(err)
		}
		for i := range faults {
			account, err := reader.Account(bagAddress(i))
			if err != nil || account.Balance.Uint64() != uint64(i) {
				t.Fatal(i, account, err)
			}
		}
		for i := range bagContracts {
			for s := range 20 {
				if value, err := reader.Storage(bagAddress(i), bagSlot(s)); err != nil || value != bagValue(s) {
					t.Fatal(i, s, value, err)
				}
			}
		}
		// 3,000 accounts and 400 slots are some 4 and 3 levels, a few more here and there.
		if stats := session.Stats(); stats.Trips < 6 || stats.Trips > 10 || stats.Codes != bagContracts {
			t.Errorf("stats %+v", stats)
		}
		if blamed := r.blames.all(); len(blamed) > 0 {
			t.Error(blamed)
		}
	})
}

// TestHashPeerGaps: what is missing says nothing, what nobody asked for is a lie.
func TestHashPeerGaps(t *testing.T) {
	inBubble(t, func(r *rig) {
		first, second := newHashPeer("first"), newHashPeer("second")
		all := first.data
		first.data = func(hash common.Hash) []byte {
			if hash[0]%2 == 0 {
				return nil
			}
			return all(hash)
		}
		r.Join(first)
		r.Join(second)
		faults := []trie.Fault{rootFault(1), rootFault(2), rootFault(3), rootFault(4), rootFault(5)}
		if err := r.Session(sched.Urgent).FetchMany(r.ctx, faults, theBag().code); err != nil {
			t.Fatal(err)
		}
		if blamed := r.blames.all(); len(blamed) > 0 {
			t.Errorf("gaps were blamed: %v", blamed)
		}
		r.Leave("second")
		first.data = func(hash common.Hash) []byte { return append(hash.Bytes(), 1) }
		ctx, cancel := context.WithTimeout(r.ctx, time.Second)
		defer cancel()
		if err := r.Session(sched.Urgent).FetchMany(ctx, []trie.Fault{rootFault(700)}, nil); err == nil {
			t.Error("garbage was taken")
		}
		if blamed := r.blames.all(); !slices.Equal(blamed, []string{"first:lie"}) {
			t.Errorf("blames %v", blamed)
		}
	})
}

// TestBothWays: a peer that serves both ways is asked for a way by path, for a single node by
// hash, and for one that it knows by path only, by path the second time.
func TestBothWays(t *testing.T) {
	inBubble(t, func(r *rig) {
		peer := newHashPeer("a")
		peer.paths = true
		byHash := make(map[common.Hash]bool)
		all := peer.data
		peer.data = func(hash common.Hash) []byte {
			byHash[hash] = true
			if hash == theBag().root {
				return nil
			}
			return all(hash)
		}
		r.Join(peer)
		session := r.Session(sched.Background)
		root := rootFault(0)
		root.Key = nil
		if err := session.FetchMany(r.ctx, []trie.Fault{root}, nil); err != nil {
			t.Fatal(err)
		}
		if len(byHash) != 1 {
			t.Errorf("asked for %d nodes by hash", len(byHash))
		}
		if err := session.FetchMany(r.ctx, []trie.Fault{rootFault(1)}, nil); err != nil {
			t.Fatal(err)
		}
		if len(byHash) != 1 {
			t.Errorf("a way was asked for by hash: %d nodes", len(byHash))
		}
		if blamed := r.blames.all(); len(blamed) > 0 {
			t.Error(blamed)
		}
	})
}

// TestRealBlockByHash executes a real block from an empty store and a peer that serves its
// witness by hash only.
func TestRealBlockByHash(t *testing.T) {
	file := loadWitness(t, "1-9069000")
	inBubble(t, func(r *rig) {
		peer := newHashPeer("a")
		peer.data = func(hash common.Hash) []byte {
			if code := file.Codes[hash]; code != nil {
				return code
			}
			return file.Nodes[hash]
		}
		r.Join(peer)
		trips, stats := collectAndExecute(t, r, evm.NewExecutor(file.Config), file, file.Block)
		// Ways that begin at different times get the nodes that they share more than once.
		if need := uint64(len(file.Nodes)); stats.Nodes > need*5/4 {
			t.Errorf("%d nodes fetched, the witness has %d", stats.Nodes, need)
		}
		t.Logf("%.1f trips, %+v", trips, stats)
	})
}
