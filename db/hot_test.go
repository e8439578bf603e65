// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// hotOf opens a hot store of small generations in memory.
func hotOf(t *testing.T, generation uint64) *Hot {
	t.Helper()
	d, err := OpenMemory(Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	d.hot.limit = generation
	return d.hot
}

func put(t *testing.T, h *Hot, nodes ...trie.Node) {
	t.Helper()
	if err := h.PutNodes(nodes); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, h *Hot, n trie.Node) bool {
	t.Helper()
	blob, err := h.Node(common.Hash{7}, []byte{1, 2}, n.Hash)
	if err != nil {
		t.Fatal(err)
	}
	if blob != nil && !bytes.Equal(blob, n.Blob) {
		t.Fatalf("another blob came back")
	}
	return blob != nil
}

// TestGenerations: what is read stays, what is not goes with its generation.
func TestGenerations(t *testing.T) {
	h := hotOf(t, 10_000)
	read, unread := node(1, 500), node(2, 500)
	put(t, h, read, unread)
	for i := range uint64(200) {
		put(t, h, node(100+i, 500)) // a generation is about 19 of these
		if !get(t, h, read) {
			t.Fatalf("a node that is read all the time was lost after %d others", i)
		}
		if h.Bytes() > 3*10_000 {
			t.Fatalf("%d bytes in two generations of 10000", h.Bytes())
		}
	}
	if get(t, h, unread) {
		t.Fatal("a node that is never read is still there after five generations")
	}
	if !get(t, h, node(299, 500)) {
		t.Fatal("the newest node is not there")
	}
}

// TestPromotionByReads: readers write what they move when it gets much.
func TestPromotionByReads(t *testing.T) {
	h := hotOf(t, 4<<20)
	var nodes []trie.Node
	for i := range uint64(64) {
		nodes = append(nodes, node(i, 64<<10))
	}
	put(t, h, nodes...) // 4 MiB and keys: the generation is full
	if young, old := h.generations(); young.nodes != 0 || old.nodes != 64 {
		t.Fatalf("young %+v, old %+v", young, old)
	}
	for _, n := range nodes[:48] {
		if !get(t, h, n) {
			t.Fatal("lost")
		}
	}
	if young, _ := h.generations(); young.nodes < 32 {
		t.Fatalf("only %d nodes moved", young.nodes)
	}
	if h.promoting.bytes > maxPromoting {
		t.Fatalf("%d bytes wait to be moved", h.promoting.bytes)
	}
}

func TestCorruptBlobIsAMiss(t *testing.T) {
	registry := prometheus.NewRegistry()
	d, err := OpenMemory(Options{Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	h, n := d.Hot(), node(1, 100)
	put(t, h, n)
	if err := h.mu.young.disk.Put(n.Hash[:], []byte("flipped")); err != nil {
		t.Fatal(err)
	}
	if get(t, h, n) {
		t.Fatal("a corrupt blob came back")
	}
	want := `
# HELP beam_hot_lookups_total Lookups of trie nodes in the hot store, by result.
# TYPE beam_hot_lookups_total counter
beam_hot_lookups_total{result="corrupt"} 1
beam_hot_lookups_total{result="miss"} 0
beam_hot_lookups_total{result="old"} 0
beam_hot_lookups_total{result="young"} 0
# HELP beam_hot_bytes Size of the trie nodes in the hot store, with their keys, before compression, in bytes.
# TYPE beam_hot_bytes gauge
beam_hot_bytes{generation="old"} 0
beam_hot_bytes{generation="young"} 132
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "beam_hot_lookups_total", "beam_hot_bytes"); err != nil {
		t.Fatal(err)
	}
	put(t, h, n) // fetched anew
	if !get(t, h, n) {
		t.Fatal("a corrupt blob is never replaced")
	}
}

func TestCodes(t *testing.T) {
	d, err := OpenMemory(Options{})
	if err != nil {
		t.Fatal(err)
	}
	h, code := d.Hot(), []byte{0x60, 0x00}
	hash := crypto.Keccak256Hash(code)
	if got, err := h.Code(hash); got != nil || err != nil {
		t.Fatalf("%x, %v", got, err)
	}
	if err := h.PutCode(hash, code); err != nil {
		t.Fatal(err)
	}
	if got, err := h.Code(hash); !bytes.Equal(got, code) || err != nil {
		t.Fatalf("%x, %v", got, err)
	}
	if err := d.chain.disk.Put(append([]byte("c"), hash[:]...), []byte{0xfe}); err != nil {
		t.Fatal(err)
	}
	if got, err := h.Code(hash); got != nil || err != nil {
		t.Fatalf("a corrupt code came back: %x, %v", got, err)
	}
}

// TestGenerationsOnDisk turns over, restarts, and finds leftovers of a crash.
func TestGenerationsOnDisk(t *testing.T) {
	for _, engine := range []string{LevelDB, Pebble} {
		dir := t.TempDir()
		open := func() *DB {
			d, err := Open(dir, Options{Engine: engine})
			if err != nil {
				t.Fatal(err)
			}
			d.hot.limit = 10_000
			return d
		}
		d := open()
		for i := range uint64(70) {
			put(t, d.Hot(), node(i, 500)) // 532 each: turns after 19
		}
		size := d.Hot().Bytes()
		list, _ := filepath.Glob(filepath.Join(dir, "geth", "beam-hot", "*"))
		if len(list) != 2 || filepath.Base(list[1]) != "4" {
			t.Fatalf("generations on disk: %v", list)
		}
		d.Close()
		for _, name := range []string{"1", "2"} { // were on their way out
			if err := os.Mkdir(filepath.Join(dir, "geth", "beam-hot", name), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		d = open()
		if list, _ = filepath.Glob(filepath.Join(dir, "geth", "beam-hot", "*")); len(list) != 2 {
			t.Fatalf("leftovers: %v", list)
		}
		if d.Hot().Bytes() != size {
			t.Fatalf("%d bytes after a restart, %d before", d.Hot().Bytes(), size)
		}
		if !get(t, d.Hot(), node(69, 500)) || !get(t, d.Hot(), node(45, 500)) || get(t, d.Hot(), node(10, 500)) {
			t.Fatal("generations hold the wrong nodes after a restart")
		}
		d.Close()
	}
}

func TestHotDiskFails(t *testing.T) {
	h := hotOf(t, 1000)
	h.store = brokenGenerations{}
	err := h.PutNodes([]trie.Node{node(1, 500), node(2, 500)})
	if !errors.Is(err, errDisk) {
		t.Fatalf("a generation that cannot be made: %v", err)
	}
	if err := h.PutNodes([]trie.Node{node(3, 500)}); !errors.Is(err, errDisk) {
		t.Fatalf("a broken disk was written to: %v", err)
	}
}

type brokenGenerations struct{ memoryGenerations }

func (brokenGenerations) open(uint64) (ethdb.KeyValueStore, string, error) { return nil, "", errDisk }

// TestConcurrentUse is for the race detector: readers, writers and turning generations.
func TestConcurrentUse(t *testing.T) {
	h := hotOf(t, 20_000)
	shared := node(1, 300)
	put(t, h, shared)
	var wg sync.WaitGroup
	for w := range uint64(4) {
		wg.Go(func() {
			for i := range uint64(200) {
				if err := h.PutNodes([]trie.Node{node(1000*w+i, 300)}); err != nil {
					t.Error(err)
					return
				}
				if blob, err := h.Node(common.Hash{}, nil, shared.Hash); err != nil || blob == nil {
					t.Errorf("shared node: %v, %v", blob != nil, err)
					return
				}
				h.Bytes()
			}
		})
	}
	wg.Wait()
}
