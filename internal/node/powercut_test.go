// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sunbeam-eth/sunbeam/beamsync/importer"
	"github.com/sunbeam-eth/sunbeam/config"
	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/internal/powercut"
)

// cutLife is one life of a node on a disk that forgets, from an empty datadir to a full node, and what cuts of the power
// left of it.
type cutLife struct {
	t      *testing.T
	cfg    *config.Config
	engine string
	disk   *powercut.Disk
	blocks []*types.Block

	phase   atomic.Pointer[string]
	durable atomic.Uint64 // number of the head when the node last stopped in order, or became full
	wanted  int           // cuts of this phase
	every   int           // operations from one to the next
	seen    int           // operations since the last one; in the hook
	left    []leftover
}

// leftover is what a cut left.
type leftover struct {
	name    string
	dir     string
	durable uint64
}

// cut is the disk's hook. The databases are cut first, then the other files of the datadir are copied as they are: the
// journal of the path database and the freezer with the state histories, which go-ethereum writes by path. It syncs the freezer before it
// writes the database that refers to it, so after a cut the freezer is never behind, and may be ahead as here.
func (l *cutLife) cut() {
	if l.seen++; l.wanted == 0 || l.seen < l.every {
		return
	}
	l.seen = 0
	l.wanted--
	next := leftover{
		name: fmt.Sprintf("%s %d", *l.phase.Load(), len(l.left)), dir: filepath.Join(l.t.TempDir(), "left"), durable: l.durable.Load(),
	}
	if err := l.disk.Cut(next.dir); err != nil {
		l.t.Errorf("cut: %v", err)
	}
	if err := copyFiles(l.cfg.DataDir, next.dir); err != nil {
		l.t.Errorf("copy: %v", err)
	}
	l.left = append(l.left, next)
}

// copyFiles copies what is a file; files may vanish meanwhile.
func copyFiles(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry os.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil
		}
		rel, relErr := filepath.Rel(from, path)
		if err != nil || relErr != nil {
			return fmt.Errorf("%w, %w", err, relErr)
		}
		target := filepath.Join(to, rel)
		switch {
		case entry.IsDir() && strings.Contains(filepath.ToSlash(rel)+"/", "beam-hot/"):
			return nil // those of the disk
		case entry.IsDir():
			return os.MkdirAll(target, 0o700)
		case !entry.Type().IsRegular():
			return nil
		}
		content, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil {
			return err
		}
		return os.WriteFile(target, content, 0o600)
	})
}

// enter begins a phase in which the power is cut some times, with about so many operations from one to the next.
func (l *cutLife) enter(phase string, cuts, every int) {
	l.disk.Before(nil)
	l.phase.Store(&phase)
	l.wanted, l.every = cuts, every
	l.disk.Before(l.cut)
}

// start runs the node on the disk.
func (l *cutLife) start(backfill bool) *running {
	cfg := *l.cfg
	cfg.Beam.Backfill = backfill
	n := &Node{cfg: cfg, log: discard}
	var err error
	n.store, err = db.Open(cfg.DataDir, db.Options{Engine: l.engine, OpenKeyValue: l.disk.Open})
	check(l.t, err)
	check(l.t, n.openOn(nil))
	registry := prometheus.NewRegistry()
	check(l.t, n.connect(registry, registry))
	return run(l.t, n)
}

// stop stops the node in order.
func (l *cutLife) stop(n *running) {
	head := n.chain.CurrentHeader().Number.Uint64()
	n.stop(l.t)
	l.durable.Store(head)
}

// live is the whole life: beaming, the backfill and the switch, full; with a stop after each.
func (l *cutLife) live(cuts, gap int) {
	l.enter("beaming", cuts, gap)
	n := l.start(false)
	bring(l.t, n, l.blocks[20:40]...)
	l.stop(n)

	l.enter("backfill and switch", cuts, gap)
	n = l.start(true)
	bring(l.t, n, l.blocks[40:46]...)
	await(l.t, n, "switch to full mode", func(s beamStatus) bool { return s.Phase == importer.FullNode.String() && s.HotBytes == 0 })

	l.enter("full", cuts, gap)
	bring(l.t, n, l.blocks[46:74]...)
	l.stop(n)
	l.enter("stopped", 1, 1)
	n = l.start(true)
	bring(l.t, n, l.blocks[74:75]...)
	l.stop(n)
	l.disk.Before(nil)
}

// goesOn starts a node on what a cut left, on the system's files and with its own engines. It must know no block but those of the
// chain, have all that it claims, and become a full node at the head.
func (l *cutLife) goesOn(t *testing.T, left leftover) {
	cfg := *l.cfg
	cfg.DataDir, cfg.Store.Engine = left.dir, l.engine
	made, err := New(&cfg, discard)
	if err != nil && (left.durable == 0 || strings.Contains(err.Error(), "beam-hot")) && strings.Contains(err.Error(), "remove "+left.dir) {
		return // that database was just being created, and the operator is told what to do
	}
	check(t, err)
	n := run(t, made)
	head := n.chain.CurrentHeader()
	number := head.Number.Uint64()
	if number > 0 && head.Hash() != l.blocks[number-1].Hash() {
		t.Fatalf("head %d is not of the chain", number)
	}
	if number < left.durable {
		t.Errorf("head %d, but %d was durable", number, left.durable)
	}
	if err := n.chain.Check(); err != nil {
		t.Errorf("what is stored of the chain: %v", err)
	}
	bring(t, n, l.blocks[max(number, 74):78]...)
	await(t, n, "switch to full mode", func(s beamStatus) bool {
		return s.Phase == importer.FullNode.String() && s.HotBytes == 0 && s.CatchUp == nil
	})
	bring(t, n, l.blocks[78])
	wholeState(t, n, l.blocks[78])
	n.stop(t)
}

// TestPowerCut cuts the power at many moments of a node's life. Whatever the disk had not synced may be lost.
func TestPowerCut(t *testing.T) {
	genesis := pragueGenesis()
	blocks := chainOn(genesis, nil, 80, 0)
	other := localConfig(t)
	check(t, Init(other, genesis, discard))
	check(t, Import(t.Context(), other, []string{chainFile(t, "chain.rlp", blocks...)}, discard))
	peer := start(t, other)
	defer peer.stop(t)

	cuts, gap := 34, 2 // for each of three phases and two engines
	if testing.Short() {
		cuts, gap = 2, 24
	}
	for seed, engine := range []string{db.LevelDB, db.Pebble} {
		t.Run(engine, func(t *testing.T) {
			cfg := localConfig(t)
			cfg.P2P.StaticNodes = []string{peer.host.Self().URLv4()}
			life := &cutLife{
				t: t, cfg: withGenesis(t, cfg, genesis), engine: engine, blocks: blocks,
				disk: powercut.New(cfg.DataDir, engine == db.Pebble, uint64(seed)),
			}
			life.live(cuts, gap)
			if len(life.left) < 2*cuts {
				t.Errorf("%d cuts, want %d", len(life.left), 3*cuts)
			}
			for _, left := range life.left {
				t.Run(left.name, func(t *testing.T) { life.goesOn(t, left) })
			}
		})
	}
}
