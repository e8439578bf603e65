// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/sunbeam-eth/sunbeam/beamsync/importer"
	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/config"
	"github.com/sunbeam-eth/sunbeam/db"
)

// TestCorruptTables overwrites parts of table files. A node that reads them ends with an error that names the database, and
// the next start keeps what can be read, or says that the database is to be removed. Pebble refuses to open without a table.
func TestCorruptTables(t *testing.T) {
	for _, engine := range []string{db.LevelDB, db.Pebble} {
		w := newDamageWorld(t, engine)
		for seed, part := range []string{"lost", "middle", "end"} {
			cfg := snapshot(t, w.cfg)
			cfg.P2P.StaticNodes = []string{w.peer.host.Self().URLv4()}
			tables, err := filepath.Glob(filepath.Join(chaindataOf(cfg), map[string]string{db.LevelDB: "*.ldb", db.Pebble: "*.sst"}[engine]))
			check(t, err)
			rng := rand.New(rand.NewPCG(uint64(seed), 3))
			for _, at := range rng.Perm(len(tables))[:min(3, len(tables))] {
				content, err := os.ReadFile(tables[at])
				check(t, err)
				switch part {
				case "middle":
					copy(content[len(content)/2:], bytes.Repeat([]byte{0x5a}, 600))
				case "end":
					content = content[:len(content)/2]
				}
				if check(t, os.WriteFile(tables[at], content, 0o600)); part == "lost" {
					check(t, os.Remove(tables[at]))
				}
			}
			name := engine + ", " + part
			for starts := 1; ; starts++ {
				err := corruptRun(t, name, cfg, w)
				if err == nil || engine == db.Pebble || strings.Contains(err.Error(), "remove it: what it had is fetched again, if peers have it") {
					break // Pebble has no repair
				}
				if starts == 4 {
					t.Errorf("%s: the node does not come up again", name)
					break
				}
			}
		}
		w.peer.stop(t)
	}
}

// corruptRun returns nil if the node follows the chain, or the error that it ended with, which names the database.
func corruptRun(t *testing.T, name string, cfg *config.Config, w *damageWorld) error {
	t.Helper()
	named := func(err error) error {
		if err == nil || !strings.Contains(err.Error(), chaindataOf(cfg)) {
			t.Errorf("%s: the error does not name the database: %v", name, err)
		}
		t.Logf("%s: %v", name, err)
		return err
	}
	n, err := New(cfg, discard)
	if err != nil {
		return named(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	for next := 0; next < len(w.next); {
		waiting, stop := context.WithTimeout(ctx, 100*time.Millisecond)
		outcome := n.importer.NewPayload(waiting, w.next[next])
		if outcome.Status == importer.Valid {
			_, err := n.importer.Forkchoice(ctx, importer.Forkchoice{Head: w.next[next].Hash()})
			check(t, err)
			next++
		}
		stop()
		if outcome.Status == importer.Invalid {
			t.Fatalf("%s: INVALID: %v", name, outcome.Reason)
		}
		select {
		case err := <-done:
			return named(err)
		default:
		}
	}
	cancel()
	check(t, <-done)
	return nil
}

// TestDamagedAsides: what can be made anew is set aside, and the node starts.
func TestDamagedAsides(t *testing.T) {
	genesis := pragueGenesis()
	blocks := chainOn(genesis, nil, 2, 0)
	cfg := localConfig(t)
	cfg.Store.Engine = db.Pebble // its tables are checked when it is opened
	beamedTo(t, cfg, genesis, blocks...)
	hot := filepath.Join(cfg.InstanceDir(), "beam-hot")
	for _, pattern := range []string{filepath.Join(hot, "*", "MANIFEST-*"), filepath.Join(cfg.InstanceDir(), "nodes", "CURRENT")} {
		files, err := filepath.Glob(pattern)
		check(t, err)
		if len(files) == 0 && strings.Contains(pattern, "nodes") {
			check(t, os.MkdirAll(filepath.Dir(pattern), 0o700))
			files = []string{pattern}
		}
		for _, file := range files {
			check(t, os.WriteFile(file, []byte("damaged"), 0o600))
		}
	}
	check(t, os.RemoveAll(filepath.Join(cfg.InstanceDir(), "blobpool")))
	check(t, os.WriteFile(filepath.Join(cfg.InstanceDir(), "blobpool"), []byte("no directory"), 0o600))
	log := new(lines)
	n, err := New(cfg, slog.New(slog.NewTextHandler(log, nil)))
	check(t, err)
	check(t, n.Close())
	aside, err := filepath.Glob(filepath.Join(cfg.InstanceDir(), "*.damaged-*"))
	check(t, err)
	if len(aside) != 2 || strings.Count(log.String(), "Set aside a damaged store") != 2 {
		t.Errorf("set aside: %v; log:\n%s", aside, log.String())
	}
	r := start(t, cfg)
	await(t, r, "the blob pool", func(beamStatus) bool {
		aside, err := filepath.Glob(filepath.Join(cfg.InstanceDir(), "blobpool.damaged-*"))
		return err == nil && len(aside) == 1
	})
	r.stop(t)
}

type lines struct{ bytes.Buffer }

// TestDamagedHistories: what is lost of the state histories ends the start with the file and the remedy, and nothing is
// changed.
func TestDamagedHistories(t *testing.T) {
	genesis := pragueGenesis()
	blocks := chainOn(genesis, nil, 200, 0)
	cfg := localConfig(t)
	check(t, Init(cfg, genesis, discard))
	check(t, Import(t.Context(), cfg, []string{chainFile(t, "a.rlp", blocks...)}, discard))
	start(t, cfg).stop(t) // intact
	for name, do := range map[string]func(content []byte) []byte{
		"account.data.cidx":      func(c []byte) []byte { return c[:len(c)/2] },
		"account.data.0000.cdat": func(c []byte) []byte { return c[:len(c)/2] },
		"storage.data.0000.cdat": func([]byte) []byte { return nil },
		"history.meta.ridx":      func(c []byte) []byte { c[len(c)/2/6*6] ^= 0x80; return c },
		"storage.index.cidx":     func([]byte) []byte { return nil },
	} {
		damaged := snapshot(t, cfg)
		path := filepath.Join(chaindataOf(damaged), "ancient", "state", name)
		content, err := os.ReadFile(path)
		check(t, err)
		if content = do(content); content == nil {
			check(t, os.Remove(path))
		} else {
			check(t, os.WriteFile(path, content, 0o600))
		}
		_, err = New(damaged, discard)
		if err == nil || !strings.Contains(err.Error(), filepath.Join(chaindataOf(damaged), "ancient", "state", name)) || !strings.Contains(err.Error(), "restore") {
			t.Errorf("%s: %v", name, err)
		}
		if after, err := os.ReadFile(path); content != nil && (err != nil || !bytes.Equal(after, content)) || content == nil && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s was changed", name)
		}
	}
}

// TestKilledBeforeFirstImport: a datadir that was marked full for an import that was killed before its first block is
// that of a new network, and executes it from block 1 on.
func TestKilledBeforeFirstImport(t *testing.T) {
	genesis := pragueGenesis()
	blocks := chainOn(genesis, nil, 12, 0)
	cfg := localConfig(t)
	check(t, Init(cfg, genesis, discard))
	n := &Node{cfg: *cfg, log: discard}
	check(t, n.open(nil, nil))
	check(t, n.fillFromGenesis(t.Context()))
	if is, err := n.store.IsFull(); err != nil || !is {
		t.Fatalf("not marked: %v, %v", is, err)
	}
	killed := snapshot(t, cfg)
	check(t, n.Close())
	for _, import_ := range []bool{false, true} {
		cfg := snapshot(t, killed)
		from := 0
		if import_ {
			from = 6
			check(t, Import(t.Context(), cfg, []string{chainFile(t, "a.rlp", blocks[:from]...)}, discard))
		}
		r := start(t, cfg)
		if r.importer.Phase() == importer.FullNode != import_ {
			t.Errorf("import %v: the node begins in phase %s", import_, r.importer.Phase())
		}
		bring(t, r, blocks[from:]...)
		await(t, r, "full mode", func(s beamStatus) bool { return s.Phase == importer.FullNode.String() && s.HotBytes == 0 })
		wholeState(t, r, blocks[11])
		r.stop(t)
	}
}

// TestReadsDuringRebuild: after a kill, a query for a state that is being rebuilt is answered as soon as the state is
// there, although no peer has it.
func TestReadsDuringRebuild(t *testing.T) {
	genesis := pragueGenesis()
	blocks := chainOn(genesis, nil, 30, 0)
	cfg := localConfig(t)
	check(t, Init(cfg, genesis, discard))
	check(t, Import(t.Context(), cfg, []string{chainFile(t, "a.rlp", blocks...)}, discard))
	check(t, os.RemoveAll(filepath.Join(cfg.InstanceDir(), "triedb"))) // what only an orderly end writes
	n, err := New(cfg, discard)
	check(t, err)
	defer n.Close()
	head := blocks[29]
	if n.full().Has(head.Root()) {
		t.Fatal("the state was not lost")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 2)
	go func() { ended <- n.fetcher.Run(ctx) }()
	nonce := make(chan uint64, 1)
	go func() {
		state, err := accounts{states{node: n, class: sched.RPC}}.Open(ctx, head.Root())
		if err == nil {
			var reader interface {
				Account(common.Address) (*types.StateAccount, error)
			}
			reader, err = state.Reader(head.Root())
			if err == nil {
				var account *types.StateAccount
				if account, err = reader.Account(crypto.PubkeyToAddress(richKey.PublicKey)); err == nil {
					nonce <- account.Nonce
					return
				}
			}
		}
		ended <- err
	}()
	for !n.fetcher.Waiting() { // the query asks peers
		time.Sleep(time.Millisecond)
	}
	go func() { ended <- n.importer.Run(ctx) }()
	select {
	case got := <-nonce:
		if got != 4*30 {
			t.Errorf("nonce %d", got)
		}
	case err := <-ended:
		t.Fatalf("the query failed: %v", err)
	case <-time.After(20 * time.Second):
		t.Fatal("the query still waits for peers")
	}
}
