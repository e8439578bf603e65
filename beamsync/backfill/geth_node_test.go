// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethdb/leveldb"
	"github.com/ethereum/go-ethereum/rlp"
	gethtrie "github.com/ethereum/go-ethereum/trie"
	"github.com/ethereum/go-ethereum/triedb"
	"github.com/ethereum/go-ethereum/triedb/pathdb"

	"github.com/sunbeam-eth/sunbeam/beamsync/backfill"
	"github.com/sunbeam-eth/sunbeam/beamsync/fetch"
	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// node is a node under test: stores on disk, a fetcher, and a backfill.
type node struct {
	t        *testing.T
	dir      string
	db       *db.DB
	book     *peer.Book // of fetcher and backfill
	fetcher  *fetch.Fetcher
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
	n.book = peer.NewBook(peer.BookConfig{Blamer: n})
	fetcher := fetch.New(fetch.Config{Local: d.Hot(), Book: n.book})
	n.fetcher = fetcher
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	n.backfill = backfill.New(backfill.Config{
		Complete: d.Complete(), Writer: func() trie.CompleteWriter { return d.Complete().Writer() }, Local: d.Hot(), Source: fetcher.Session(sched.Background),
		Recent: recent, Book: n.book, Log: log,
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

// complete waits for completion and lets go-ethereum verify the database.
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

// verify opens chaindata with go-ethereum's path database, reads all of the state, and compares the numbers of nodes:
// none may be unreachable.
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
				t.Fatalf("code %x is missing", code)
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
