// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/ethdb/leveldb"
	"github.com/ethereum/go-ethereum/ethdb/memorydb"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/trie"
)

var (
	_ chain.Store = (*Chain)(nil)
	_ trie.Local  = (*Hot)(nil)
)

func TestLayout(t *testing.T) {
	for _, engine := range []string{"", LevelDB, Pebble} {
		dir := filepath.Join(t.TempDir(), "datadir")
		d, err := Open(dir, Options{Engine: engine})
		if err != nil {
			t.Fatal(err)
		}
		mustChain(t, d)
		if _, err := Open(dir, Options{}); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), dir) {
			t.Fatalf("opened twice: %v", err)
		}
		if err := errors.Join(d.Close(), d.Close()); err != nil {
			t.Fatal(err)
		}
		want := engine
		if want == "" {
			want = LevelDB
		}
		for _, path := range []string{"geth/chaindata", "geth/beam-hot/1"} {
			if have := rawdb.PreexistingDatabase(filepath.Join(dir, path)); have != want {
				t.Fatalf("%s holds a %q database, want %s", path, have, want)
			}
		}
		if info, err := os.Stat(filepath.Join(dir, "geth")); err != nil || info.Mode().Perm() != 0o700 {
			t.Fatalf("%v, %v", info, err)
		}
		other := Pebble
		if want == Pebble {
			other = LevelDB
		}
		if _, err := Open(dir, Options{Engine: other}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), other) {
			t.Fatalf("%s directory opened as %s: %v", want, other, err)
		}
		if d, err = Open(dir, Options{ReadOnly: true}); err != nil { // finds the engine, changes nothing
			t.Fatal(err)
		}
		mustChain(t, d)
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBadOptionsCreateNothing(t *testing.T) {
	for _, opts := range []Options{{Engine: "rocksdb"}, {CacheMB: -1}, {Handles: -1}, {HotBytes: 1}, {ReadOnly: true}} {
		dir := filepath.Join(t.TempDir(), "datadir")
		if _, err := Open(dir, opts); err == nil {
			t.Errorf("%+v: opened", opts)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%+v: created %s", opts, dir)
		}
	}
	if _, err := Open(t.TempDir(), Options{ReadOnly: true}); !errors.Is(err, ErrAbsent) {
		t.Errorf("read-only without a database: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file, Options{}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file as data directory: %v", err)
	}
}

func TestDamagedDirectory(t *testing.T) {
	dir := t.TempDir()
	d, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	path := filepath.Join(dir, "geth", "chaindata", "CURRENT")
	if err := os.WriteFile(path, []byte("MANIFEST-999999\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	manifests, _ := filepath.Glob(filepath.Join(dir, "geth", "chaindata", "MANIFEST-*"))
	for _, manifest := range manifests {
		if err := os.Mkdir(manifest+".dir", 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(manifest); err != nil {
			t.Fatal(err)
		}
	}
	if d, err = Open(dir, Options{}); err == nil { // goleveldb may rebuild what it can from the tables
		mustChain(t, d)
		d.Close()
	} else if !strings.Contains(err.Error(), "chaindata") {
		t.Fatalf("the error does not say where: %v", err)
	}
	if d, err = Open(dir, Options{}); err == nil { // the lock was let go of
		d.Close()
	} else if errors.Is(err, ErrInUse) {
		t.Fatal(err)
	}
}

func TestForeignSchema(t *testing.T) {
	kv := memorydb.New()
	genesis := testGenesis.ToBlock()
	rawdb.WriteBlock(kv, genesis)
	rawdb.WriteCanonicalHash(kv, genesis.Hash(), 0)
	rawdb.WriteHeadBlockHash(kv, genesis.Hash())
	open := func() error {
		_, err := openChain(&disk{KeyValueStore: kv, path: "chaindata", health: newFailure()}, "", false, false)
		return err
	}
	if err := open(); err != nil {
		t.Fatalf("a database with a genesis block only, as geth init leaves it: %v", err)
	}
	mustChain(t, openOn(t, keptOpen{kv}))
	if err := kv.Delete([]byte(schemaKey)); err != nil {
		t.Fatal(err)
	}
	if err := open(); !errors.Is(err, errLost) {
		t.Fatalf("a database of this client without its schema: %v", err)
	}
	if err := kv.DeleteRange([]byte(ownPrefix), []byte(ownPrefix+"\xff")); err != nil {
		t.Fatal(err)
	}
	made := newTestBlocks()
	next := made.branch(genesis, 1, 1)[0]
	rawdb.WriteBlock(kv, next)
	rawdb.WriteHeadBlockHash(kv, next.Hash())
	if err := open(); err == nil || !strings.Contains(err.Error(), "another client") {
		t.Fatalf("a chain of another client: %v", err)
	}
	if err := kv.Put([]byte(schemaKey), []byte{0, 0, 0, 0, 0, 0, 0, schemaVersion + 1}); err != nil {
		t.Fatal(err)
	}
	if err := open(); err == nil || !strings.Contains(err.Error(), "newer version") {
		t.Fatalf("a newer schema: %v", err)
	}
}

// TestKill copies the directory after every step, as a crash would leave it, and opens the copy.
func TestKill(t *testing.T) {
	made := newTestBlocks()
	for _, engine := range []string{LevelDB, Pebble} {
		dir := t.TempDir()
		d, err := Open(dir, Options{Engine: engine})
		if err != nil {
			t.Fatal(err)
		}
		c := mustChain(t, d)
		for i, block := range made.branch(c.Genesis(), 5, 1) {
			if err := c.Commit(block, made.receiptsOf(block)); err != nil {
				t.Fatal(err)
			}
			if i%2 == 1 { // every second one is executed and not yet head
				if _, err := c.SetHead(block.Hash()); err != nil {
					t.Fatal(err)
				}
			}
			n := node(uint64(i), 200)
			if err := d.Hot().PutNodes([]trie.Node{n}); err != nil {
				t.Fatal(err)
			}
			copied, err := Open(snapshot(t, dir), Options{Engine: engine})
			if err != nil {
				t.Fatal(err)
			}
			after := mustChain(t, copied)
			if engine == LevelDB { // Pebble may lose what it wrote in the last moment
				if after.CurrentHeader().Hash() != c.CurrentHeader().Hash() || after.Status(block.Hash()) != chain.Executed {
					t.Fatalf("step %d was lost", i)
				}
				if blob, err := copied.Hot().Node(common.Hash{}, nil, n.Hash); err != nil || blob == nil {
					t.Fatalf("node of step %d was lost: %v", i, err)
				}
			}
			copied.Close()
		}
		d.Close()
	}
}

// TestFailingWrites fails each write of a story in turn: the error surfaces, nothing is
// written after it, and what is on disk is the chain as of an earlier step.
func TestFailingWrites(t *testing.T) {
	made := newTestBlocks()
	main := made.branch(made.Root(), 6, 1)
	side := made.branch(main[2], 5, 2)
	story := func(d *DB) error {
		c, err := chain.New(d.Chain(), testGenesis)
		if err != nil {
			return err
		}
		var errs []error
		for _, block := range slices.Concat(main, side) {
			errs = append(errs, c.Commit(block, made.receiptsOf(block)))
		}
		for _, head := range []*types.Block{main[3], main[5], side[4], main[5], main[1]} {
			_, err := c.SetHead(head.Hash())
			errs = append(errs, err, c.SetMarkers(main[0].Hash(), main[0].Hash()))
			if err == nil {
				errs = append(errs, c.Check())
			}
		}
		return errors.Join(errs...)
	}
	clean := &flaky{Database: memorydb.New()}
	if err := story(openOn(t, clean)); err != nil {
		t.Fatal(err)
	}
	for k := 1; k <= clean.writes; k++ {
		disk := &flaky{Database: memorydb.New(), failAt: k}
		d := openOn(t, disk)
		if err := story(d); !errors.Is(err, errDisk) {
			t.Fatalf("write %d of %d failed: %v", k, clean.writes, err)
		}
		if disk.writes != k {
			t.Fatalf("write %d failed and %d were tried", k, disk.writes)
		}
		if err := d.Run(t.Context()); !errors.Is(err, errDisk) {
			t.Fatalf("run: %v", err)
		}
		mustChain(t, openOn(t, disk.Database))
	}
}

// TestPanickingEngine: Pebble panics on a full disk.
func TestPanickingEngine(t *testing.T) {
	disk := &flaky{Database: memorydb.New(), failAt: 3, panics: true}
	d := openOn(t, disk)
	c := mustChain(t, d)
	made := newTestBlocks()
	blocks := made.branch(c.Genesis(), 3, 1)
	for i, want := range []error{nil, errDisk, errDisk} {
		if err := c.Commit(blocks[i], made.receiptsOf(blocks[i])); !errors.Is(err, want) {
			t.Fatalf("block %d: %v, want %v", i, err, want)
		}
	}
	if err := d.Run(t.Context()); !errors.Is(err, errDisk) {
		t.Fatalf("run: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestFailingReads: rawdb makes a miss of a failed read; nothing may be written on its strength.
func TestFailingReads(t *testing.T) {
	disk := &flaky{Database: memorydb.New()}
	d := openOn(t, disk)
	c := mustChain(t, d)
	made := newTestBlocks()
	blocks := made.branch(c.Genesis(), 2, 1)
	for _, block := range blocks {
		if err := c.Commit(block, made.receiptsOf(block)); err != nil {
			t.Fatal(err)
		}
	}
	disk.failRead = true
	if _, err := c.SetHead(blocks[1].Hash()); err == nil {
		t.Fatal("head was set on a disk that cannot be read")
	}
	if _, err := d.Chain().Code(common.Hash{1}); err == nil {
		t.Fatal("a failed read of a code looks like a miss")
	}
	disk.failRead = false
	if _, err := c.SetHead(blocks[1].Hash()); err == nil {
		t.Fatal("a broken disk was written to")
	}
	if err := d.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "chaindata") {
		t.Fatalf("run: %v", err)
	}
}

func TestRunEndsWithContext(t *testing.T) {
	d, err := OpenMemory(Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := d.Run(ctx); err != nil {
		t.Fatal(err)
	}
	d.Close()
	if _, err := d.Hot().Node(common.Hash{}, nil, common.Hash{1}); !errors.Is(err, ErrClosed) {
		t.Fatalf("read after Close: %v", err)
	}
	if err := d.Hot().PutNodes([]trie.Node{node(1, 100)}); !errors.Is(err, ErrClosed) {
		t.Fatalf("write after Close: %v", err)
	}
	if err := d.Chain().PutCode(common.Hash{1}, []byte{1}); !errors.Is(err, ErrClosed) {
		t.Fatalf("code after Close: %v", err)
	}
	if d.Err() != nil {
		t.Fatalf("using a closed database looks like a broken disk: %v", d.Err())
	}
}

func TestStats(t *testing.T) {
	d, err := OpenMemory(Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := mustChain(t, d)
	made := newTestBlocks()
	blocks := made.branch(c.Genesis(), 3, 1)
	for _, block := range blocks {
		if err := c.Commit(block, made.receiptsOf(block)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.SetHead(blocks[2].Hash()); err != nil {
		t.Fatal(err)
	}
	put(t, d.Hot(), node(1, 100), node(2, 100))
	if err := d.Hot().PutCode(common.Hash{1}, []byte{1}); err != nil {
		t.Fatal(err)
	}
	stats, err := d.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	counts := make(map[string]uint64)
	for _, stat := range stats {
		counts[stat.Kind] = stat.Count
	}
	for kind, want := range map[string]uint64{
		"headers": 4, "canonical hashes": 4, "header numbers": 4, "bodies": 4, "receipts": 4, "executed marks": 4,
		"transaction lookups": 9, "contract codes": 1, "young trie nodes": 2, "old trie nodes": 0, "sunbeam markers": 3,
		"genesis and chain config": 2,
	} {
		if counts[kind] != want {
			t.Errorf("%s: %d, want %d", kind, counts[kind], want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Stats(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestGethReadsChaindata lets go-ethereum's own code open what we wrote and read it.
func TestGethReadsChaindata(t *testing.T) {
	dir := t.TempDir()
	d, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := mustChain(t, d)
	made := newTestBlocks()
	blocks := made.branch(c.Genesis(), 4, 1)
	for _, block := range blocks {
		if err := c.Commit(block, made.receiptsOf(block)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.SetHead(blocks[3].Hash()); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	kv, err := leveldb.New(filepath.Join(dir, "geth", "chaindata"), 16, 16, "", false)
	if err != nil {
		t.Fatal(err)
	}
	geth, err := rawdb.Open(kv, rawdb.OpenOptions{Ancient: filepath.Join(dir, "geth", "chaindata", "ancient")})
	if err != nil {
		t.Fatal(err)
	}
	genesis, err := core.ReadGenesis(geth)
	if err != nil || genesis.ToBlock().Hash() != c.Genesis().Hash() {
		t.Fatalf("genesis: %v", err)
	}
	if head := rawdb.ReadHeadBlock(geth); head == nil || head.Hash() != blocks[3].Hash() {
		t.Fatal("go-ethereum finds another head")
	}
	tx := blocks[1].Transactions()[2]
	if receipt, hash, _, index := rawdb.ReadCanonicalReceipt(geth, tx.Hash(), genesis.Config); receipt == nil || hash != blocks[1].Hash() || index != 2 {
		t.Fatalf("receipt %v in %x at %d", receipt, hash, index)
	}
	if err := geth.Close(); err != nil {
		t.Fatal(err)
	}
	// It left an empty freezer behind; that is not in our way.
	if d, err = Open(dir, Options{}); err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	mustChain(t, d)
}

// TestLockIsReleasedByDeath holds the lock from another process, which then dies.
func TestLockIsReleasedByDeath(t *testing.T) {
	if dir := os.Getenv("SUNBEAM_TEST_LOCK"); dir != "" {
		if _, err := Open(dir, Options{}); err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("locked\n")
		select {}
	}
	dir := t.TempDir()
	child := exec.Command(os.Args[0], "-test.run=^TestLockIsReleasedByDeath$")
	child.Env = append(os.Environ(), "SUNBEAM_TEST_LOCK="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 7)
	if _, err := out.Read(line); err != nil || string(line) != "locked\n" {
		t.Fatalf("child: %q, %v", line, err)
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrInUse) {
		t.Fatalf("opened while another process has it: %v", err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err == nil {
		t.Fatal("child ended well")
	}
	d, err := Open(dir, Options{})
	if err != nil {
		t.Fatalf("after its death: %v", err)
	}
	d.Close()
}
