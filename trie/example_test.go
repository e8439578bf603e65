// SPDX-License-Identifier: LGPL-3.0-or-later

package trie_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/ethereum/go-ethereum/params"
	gethtrie "github.com/ethereum/go-ethereum/trie"
	"github.com/ethereum/go-ethereum/triedb"
	"github.com/holiman/uint256"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// peer is a Source: it reads trie nodes by hash from the database of another node, and keeps
// them in the local cache.
type peer struct {
	disk  ethdb.KeyValueReader
	cache *trie.Cache
}

func (p peer) FetchNode(_ context.Context, fault trie.Fault) ([]byte, error) {
	fmt.Printf("fault at path [%x]\n", fault.Path)
	blob, err := p.disk.Get(fault.Hash[:])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", trie.ErrUnavailable, err)
	}
	return blob, p.cache.PutNodes([]trie.Node{{Owner: fault.Owner, Path: fault.Path, Hash: fault.Hash, Blob: blob}})
}

func (p peer) FetchCode(context.Context, common.Hash) ([]byte, error) {
	return nil, trie.ErrUnavailable
}

// writeState writes a state with 20 accounts. The balance of each is 1000 times its address.
func writeState(disk ethdb.Database) (root common.Hash) {
	tdb := triedb.NewDatabase(disk, triedb.HashDefaults)
	accounts, err := state.New(types.EmptyRootHash, state.NewDatabase(tdb, state.NewCodeDB(disk)))
	must(err)
	for i := byte(1); i <= 20; i++ {
		accounts.SetBalance(common.Address{19: i}, uint256.NewInt(1000*uint64(i)), tracing.BalanceChangeUnspecified)
	}
	root, err = accounts.Commit(params.Rules{}, 0)
	must(err)
	must(tdb.Commit(root, false))
	return root
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// The first read of an account faults on each trie node of its path. The nodes are in the cache
// then, so the second read is local.
func ExampleStateDatabase() {
	remote := rawdb.NewMemoryDatabase()
	root := writeState(remote)
	cache := trie.NewCache(1<<20, nil)
	for range 2 {
		db := trie.Open(context.Background(), root, cache, peer{remote, cache})
		accounts, err := state.New(root, db)
		must(err)
		balance := accounts.GetBalance(common.Address{19: 2})
		fmt.Printf("balance %d, error latch: %v\n", balance, db.Err())
	}
	// Output:
	// fault at path []
	// fault at path [0d]
	// fault at path [0d05]
	// balance 2000, error latch: <nil>
	// balance 2000, error latch: <nil>
}

// StateDB hides failed reads: without a source, an account looks empty. The error latch says that
// it was not read, so the result does not count.
func ExampleStateDatabase_Err() {
	root := writeState(rawdb.NewMemoryDatabase())
	db := trie.Open(context.Background(), root, nil, nil)
	accounts, err := state.New(root, db)
	must(err)
	fmt.Printf("balance %d\n", accounts.GetBalance(common.Address{19: 2}))
	fmt.Println("state unavailable:", errors.Is(db.Err(), trie.ErrUnavailable))
	// Output:
	// balance 0
	// state unavailable: true
}

// All leaves of a subtree need no range proof: the subtree that they build must have the hash that
// its parent names.
func ExampleRebuild() {
	keys := []common.Hash{{0xa1}, {0xa2}, {0xa3}, {0xb0}}
	values := [][]byte{[]byte("value 1"), []byte("value 2"), []byte("value 3"), []byte("value outside of the subtree")}

	// The root of the trie names the hash of its child at path a.
	path := []byte{0xa}
	var want common.Hash
	tr := gethtrie.NewStackTrie(func(at []byte, _ common.Hash, blob []byte) {
		if len(at) > 0 {
			return
		}
		children, err := trie.Children(blob)
		must(err)
		want = children[0].Hash
	})
	for i := range keys {
		must(tr.Update(keys[i][:], values[i]))
	}
	tr.Hash()

	verify := func(what string, values [][]byte) {
		nodes, err := trie.Rebuild(common.Hash{}, path, keys[:3], values)
		must(err)
		top := nodes[len(nodes)-1] // children first
		fmt.Printf("%s: %d nodes, the last one at path %x, verified: %t\n", what, len(nodes), top.Path, top.Hash == want)
	}
	verify("all leaves", values[:3])
	verify("one value changed", [][]byte{values[0], []byte("VALUE 2"), values[2]})
	// Output:
	// all leaves: 4 nodes, the last one at path 0a, verified: true
	// one value changed: 4 nodes, the last one at path 0a, verified: false
}

// With an odd number of nibbles, the first one is in the byte of the flags.
func ExampleEncodePath() {
	compact := trie.EncodePath([]byte{0xa, 0xb, 0xc})
	path, err := trie.DecodePath(compact)
	fmt.Printf("%x %x %v\n", compact, path, err)

	_, err = trie.DecodePath([]byte{0x3a, 0xbc}) // the path of a leaf
	fmt.Println(err)
	// Output:
	// 1abc 0a0b0c <nil>
	// malformed hex-prefix path 3abc: it has the terminator flag
}
