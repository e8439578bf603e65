// SPDX-License-Identifier: LGPL-3.0-or-later

package e2e_test

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/ethereum/go-ethereum/ethdb/leveldb"
	"github.com/ethereum/go-ethereum/ethdb/pebble"

	"github.com/sunbeam-eth/sunbeam/internal/demo"
)

// A full node's database loses tables one by one, and nodes, codes and flat entries by hundreds. With geth as its peer, the
// next block is VALID within a minute, answers are geth's, and the node becomes full again with a complete state; a
// database that cannot be opened ends the start with an error that names it.
func TestDamagedDatabase(t *testing.T) {
	for _, engine := range []string{"leveldb", "pebble"} {
		t.Run(engine, func(t *testing.T) {
			w := newNetwork(t)
			dir := filepath.Join(t.TempDir(), "sunbeam")
			n := start(t, w, dir, "--history.chain", "10", "--db.engine", engine)
			mustBring(t, n, swift(t, w, 2_000_000), 30*time.Second)
			growUntilFull(t, w, n)
			stop(t, n)
			random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
			for _, table := range someTables(t, dir, random, size(1, 1000)) {
				damaged := copyOf(t, dir)
				if err := os.Remove(filepath.Join(damaged, "geth", "chaindata", table)); err != nil {
					t.Fatal(err)
				}
				t.Logf("without table %s", table)
				survive(t, w, damaged, engine == "pebble")
			}
			for _, prefixes := range size([]string{"AOcao"}, []string{"A", "O", "c", "ao", "AOcao"}) {
				for _, flip := range []bool{false, true} {
					damaged := copyOf(t, dir)
					changed := spoil(t, damaged, engine, prefixes, flip, random)
					t.Logf("%d values of %q spoiled, flipped: %v", changed, prefixes, flip)
					survive(t, w, damaged, false)
				}
			}
		})
	}
}

// growUntilFull brings blocks until the node is a full one that knows of no damage.
func growUntilFull(t *testing.T, w *demo.Network, n *demo.Node) {
	t.Helper()
	for began := time.Now(); readFull(t, n).Phase != "full"; {
		mustBring(t, n, swift(t, w, 2_000_000), time.Minute)
		if time.Since(began) > size(2*time.Minute, 10*time.Minute) {
			t.Fatalf("not full after %v: %+v\n%s", time.Since(began), readFull(t, n), n.LogTail())
		}
	}
}

// survive starts a node on a damaged datadir.
func survive(t *testing.T, w *demo.Network, dir string, mayRefuse bool) {
	t.Helper()
	n, err := demo.StartNode(t.Context(), demo.NodeConfig{
		Binary: binary, Dir: dir, Genesis: w.Genesis, Peers: []string{w.Enode()}, JWTFile: w.JWTFile, Secret: w.Secret, Args: []string{"--history.chain", "10"},
	})
	if err != nil {
		log, _ := os.ReadFile(dir + ".log")
		if !mayRefuse || !strings.Contains(string(log), filepath.Join(dir, "geth", "chaindata")) {
			t.Fatalf("%v\n%s", err, log)
		}
		return
	}
	mustBring(t, n, swift(t, w, 4_000_000), time.Minute)
	compare(t, w, n, w.Builder.Head().Number.Uint64(), 30)
	growUntilFull(t, w, n)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for { // damage that is met later makes it beam again
		mustBring(t, n, swift(t, w, 2_000_000), time.Minute)
		if _, err := os.Stat(filepath.Join(dir, "geth", "damage.json")); err != nil && readFull(t, n).Phase == "full" {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("not repaired: %+v\n%s", readFull(t, n), n.LogTail())
		}
	}
	compare(t, w, n, w.Builder.Head().Number.Uint64(), 30)
	stop(t, n)
}

func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "sunbeam")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// someTables returns the names of at most n table files.
func someTables(t *testing.T, dir string, random *rand.Rand, n int) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "geth", "chaindata"))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if ext := filepath.Ext(entry.Name()); ext == ".ldb" || ext == ".sst" {
			names = append(names, entry.Name())
		}
	}
	random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names[:min(n, len(names))]
}

// spoil deletes or changes every tenth value with one of the prefixes.
func spoil(t *testing.T, dir, engine, prefixes string, flip bool, random *rand.Rand) (changed int) {
	t.Helper()
	path := filepath.Join(dir, "geth", "chaindata")
	var kv ethdb.KeyValueStore
	var err error
	if engine == "pebble" {
		kv, err = pebble.New(path, 16, 16, "", false)
	} else {
		kv, err = leveldb.New(path, 16, 16, "", false)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer kv.Close()
	lengths := map[rune]int{'c': 33, 'a': 33, 'o': 65}
	for _, prefix := range prefixes {
		it := kv.NewIterator([]byte(string(prefix)), nil)
		for it.Next() {
			if length := lengths[prefix]; length != 0 && length != len(it.Key()) || random.IntN(10) > 0 {
				continue
			}
			key, value := slices.Clone(it.Key()), slices.Clone(it.Value())
			if flip && len(value) > 0 {
				value[random.IntN(len(value))] ^= 1 << random.IntN(8)
				err = kv.Put(key, value)
			} else {
				err = kv.Delete(key)
			}
			if err != nil {
				t.Fatal(err)
			}
			changed++
		}
		it.Release()
	}
	return changed
}
