// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethdb/memorydb"
	"github.com/ethereum/go-ethereum/rlp"
	gethtrie "github.com/ethereum/go-ethereum/trie"
	"github.com/holiman/uint256"
)

// holes is the store of a world that lacks nodes.
type holes struct {
	*stateWorld
	missing map[common.Hash]bool
}

func (h holes) Node(_ common.Hash, _ []byte, hash common.Hash) ([]byte, error) {
	if h.missing[hash] {
		return nil, nil
	}
	blob, _ := h.disk.Get(hash[:])
	return blob, nil
}

func (h holes) Code(common.Hash) ([]byte, error) { return nil, nil }

// leavesOf are all leaves of a trie, as the trie has them.
func (w *stateWorld) leavesOf(t testing.TB, id *gethtrie.ID) (keys []common.Hash, values [][]byte) {
	t.Helper()
	tr, err := gethtrie.New(id, w.db.TrieDB())
	if err != nil {
		t.Fatal(err)
	}
	for it := gethtrie.NewIterator(tr.MustNodeIterator(nil)); it.Next(); {
		keys, values = append(keys, common.Hash(it.Key)), append(values, bytes.Clone(it.Value))
	}
	return keys, values
}

// servePart returns the state without some nodes on the paths to some keys.
func (w *stateWorld) servePart(t testing.TB, rng *rand.Rand, gone int) *ServedState {
	t.Helper()
	store := holes{w, make(map[common.Hash]bool)}
	for range gone {
		addr := w.addrs[rng.IntN(len(w.addrs))]
		whole := OpenServed(holes{stateWorld: w}, nil, w.root)
		owner := crypto.Keccak256Hash(addr[:])
		nodes := whole.Prove(common.Hash{}, owner)
		if slots := whole.Prove(owner, crypto.Keccak256Hash(slotOf(rng.IntN(512)).Bytes())); len(slots) > 0 && rng.IntN(2) == 0 {
			nodes = slots
		}
		if i := rng.IntN(len(nodes)); crypto.Keccak256Hash(nodes[i]) != w.root {
			store.missing[crypto.Keccak256Hash(nodes[i])] = true
		}
	}
	return OpenServed(store, nil, w.root)
}

// TestServedRanges: whatever is missing, the returned leaves are the next ones, nothing is
// left out or made up, and the two proofs show it to go-ethereum's verifier and to our own.
func TestServedRanges(t *testing.T) {
	w := newStateWorld(t, 300)
	rng := rand.New(rand.NewPCG(1, 1))
	accounts, values := w.leavesOf(t, gethtrie.StateTrieID(w.root))
	var cut, ended, nothing int
	for range 400 {
		served := w.servePart(t, rng, rng.IntN(12))
		owner, root := common.Hash{}, w.root
		keys, want := accounts, values
		if i := rng.IntN(len(accounts)); rng.IntN(2) == 0 {
			account, err := decodeAccount(accounts[i], values[i])
			if err != nil {
				t.Fatal(err)
			}
			if account.Storage != (common.Hash{}) {
				owner, root = accounts[i], account.Storage
				keys, want = w.leavesOf(t, gethtrie.StorageTrieID(w.root, owner, root))
			}
		}
		var origin common.Hash
		switch rng.IntN(3) {
		case 0:
			origin = keys[rng.IntN(len(keys))]
		case 1:
			origin = crypto.Keccak256Hash([]byte{byte(rng.Uint32())})
		}
		from := 0
		for from < len(keys) && keys[from].Cmp(origin) < 0 {
			from++
		}
		enough := 1 + rng.IntN(200)
		var got []common.Hash
		var values [][]byte
		done := served.Leaves(owner, origin, func(key common.Hash, value []byte) bool {
			got, values = append(got, key), append(values, value)
			return len(got) < enough
		})
		for i := range got {
			if owner == (common.Hash{}) {
				full, err := types.FullAccountRLP(values[i])
				if err != nil {
					t.Fatal(err)
				}
				values[i] = full
			}
			if got[i] != keys[from+i] || !bytes.Equal(values[i], want[from+i]) {
				t.Fatalf("leaf %d behind %x is %x", i, origin, got[i])
			}
		}
		whole := done && len(got) < enough
		if whole && from+len(got) < len(keys) {
			t.Fatalf("ended after %d of %d leaves", len(got), len(keys)-from)
		}
		if len(got) == 0 && !done {
			nothing++
			continue
		}
		checkRange(t, served, owner, root, origin, got, values, whole)
		if whole {
			ended++
		} else if !done {
			cut++
		}
	}
	t.Logf("%d ranges cut by a hole, %d to the end, %d of nothing", cut, ended, nothing)
	if cut < 20 || ended < 20 || nothing < 5 {
		t.Errorf("%d ranges cut by a hole, %d to the end, %d of nothing", cut, ended, nothing)
	}
}

func checkRange(t *testing.T, served *ServedState, owner, root, origin common.Hash, keys []common.Hash, values [][]byte, whole bool) {
	t.Helper()
	proof := served.Prove(owner, origin)
	if len(keys) > 0 {
		proof = append(proof, served.Prove(owner, keys[len(keys)-1])...)
	}
	db := memorydb.New()
	for _, blob := range proof {
		if err := db.Put(crypto.Keccak256(blob), blob); err != nil {
			t.Fatal(err)
		}
	}
	raw := make([][]byte, len(keys))
	for i := range keys {
		raw[i] = keys[i][:]
	}
	more, err := gethtrie.VerifyRangeProof(root, origin[:], raw, values, db)
	if err != nil {
		t.Fatalf("%d leaves from %x of %x: %v", len(keys), origin, owner, err)
	}
	if whole && more {
		t.Fatalf("%d leaves from %x of %x: not the end", len(keys), origin, owner)
	}
	leaves := Leaves{Origin: origin, Keys: keys, Values: values, Proof: proof, Whole: whole}
	if piece, err := leaves.Match(NodeRef{Owner: owner, Hash: root}); err != nil || piece == nil {
		t.Fatalf("%d leaves from %x of %x: our verifier says %v, %v", len(keys), origin, owner, piece, err)
	}
}

// TestServedNodes: nodes are those of go-ethereum's trie in any order of asking, or absent.
func TestServedNodes(t *testing.T) {
	w := newStateWorld(t, 200)
	rng := rand.New(rand.NewPCG(2, 2))
	tr, err := gethtrie.New(gethtrie.StateTrieID(w.root), w.db.TrieDB())
	if err != nil {
		t.Fatal(err)
	}
	whole, part := OpenServed(holes{stateWorld: w}, nil, w.root), w.servePart(t, rng, 40)
	absent := 0
	for range 3000 {
		addr := w.addrs[rng.IntN(len(w.addrs))]
		path := Nibbles(crypto.Keccak256Hash(addr[:]))[:rng.IntN(7)]
		if len(path) > 0 && rng.IntN(4) == 0 {
			path[len(path)-1] = byte(rng.IntN(16))
		}
		want, _, err := tr.GetNode(EncodePath(path))
		if err != nil {
			t.Fatal(err)
		}
		if got := whole.TrieNode(common.Hash{}, path); !bytes.Equal(got, want) {
			t.Fatalf("node at %x: %x, want %x", path, got, want)
		}
		switch got := part.TrieNode(common.Hash{}, path); {
		case got == nil && want != nil:
			absent++
		case !bytes.Equal(got, want):
			t.Fatalf("node at %x of a part: %x, want %x", path, got, want)
		}
	}
	if absent < 100 {
		t.Errorf("only %d nodes were absent", absent)
	}
	if OpenServed(holes{w, map[common.Hash]bool{w.root: true}}, nil, w.root) != nil {
		t.Error("a state without its root node is served")
	}
}

// flatList is a Flat that breaks after some leaves, or has none to begin with.
type flatList struct {
	keys   []common.Hash
	values [][]byte
	breaks bool
}

func (f flatList) Leaves(_, origin common.Hash, each func(common.Hash, []byte) bool) bool {
	for i, key := range f.keys {
		if key.Cmp(origin) >= 0 && !each(key, f.values[i]) {
			return true
		}
	}
	return !f.breaks
}

// TestServedFlat: leaves come from where they come fastest, and from the nodes if that fails
// before the first one.
func TestServedFlat(t *testing.T) {
	w := newStateWorld(t, 30)
	keys, values := w.leavesOf(t, gethtrie.StateTrieID(w.root))
	for i := range values {
		values[i] = slim(t, values[i])
	}
	for name, test := range map[string]struct {
		flat  flatList
		count int
		done  bool
	}{
		"whole":             {flatList{keys, values, false}, len(keys), true},
		"breaks":            {flatList{keys[:7], values[:7], true}, 7, false},
		"breaks at the key": {flatList{nil, nil, true}, len(keys), true},
	} {
		var got int
		done := OpenServed(holes{stateWorld: w}, test.flat, w.root).Leaves(common.Hash{}, common.Hash{}, func(key common.Hash, value []byte) bool {
			if key != keys[got] || !bytes.Equal(value, values[got]) {
				t.Fatalf("%s: leaf %d is %x", name, got, key)
			}
			got++
			return true
		})
		if got != test.count || done != test.done {
			t.Errorf("%s: %d leaves, done %v", name, got, done)
		}
	}
}

func slim(t *testing.T, full []byte) []byte {
	t.Helper()
	value, ok := slimAccount(full)
	if !ok {
		t.Fatalf("not an account: %x", full)
	}
	return value
}

// TestSlimAccount compares with go-ethereum's encoding, and refuses what is no account.
func TestSlimAccount(t *testing.T) {
	hash := crypto.Keccak256Hash([]byte{1})
	for _, account := range []types.StateAccount{
		{Balance: new(uint256.Int), Root: types.EmptyRootHash, CodeHash: types.EmptyCodeHash[:]},
		{Nonce: 1<<64 - 1, Balance: new(uint256.Int).SetAllOne(), Root: hash, CodeHash: hash[:]},
		{Nonce: 127, Balance: uint256.NewInt(128), Root: types.EmptyRootHash, CodeHash: hash[:]},
		{Nonce: 128, Balance: uint256.NewInt(1 << 40), Root: hash, CodeHash: types.EmptyCodeHash[:]},
	} {
		full, err := rlp.EncodeToBytes(&account)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := slim(t, full), types.SlimAccountRLP(account); !bytes.Equal(got, want) {
			t.Errorf("%x, want %x", got, want)
		}
		for _, bad := range [][]byte{full[1:], full[:len(full)-1], append(bytes.Clone(full), 0), nil, {0xc0}, slim(t, full)} {
			if value, ok := slimAccount(bad); ok && !bytes.Equal(bad, full) {
				t.Errorf("%x is the account %x", bad, value)
			}
		}
	}
}
