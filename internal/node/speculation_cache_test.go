// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sunbeam-eth/sunbeam/evm"
)

// TestSpeculationCache: what a beaming node learned is there after a restart, and a damaged file, or that of another version, costs
// nothing else.
func TestSpeculationCache(t *testing.T) {
	genesis := pragueGenesis()
	blocks := chainOn(genesis, nil, 6, 0)
	cfg := localConfig(t)
	beamedTo(t, cfg, genesis, blocks[:3]...)
	path := filepath.Join(cfg.InstanceDir(), "speculation.cache")
	learned, err := os.ReadFile(path)
	check(t, err)
	if !bytes.Contains(learned, writer[:]) {
		t.Fatal("the contract that the blocks called is not in the file")
	}
	open := func() (learned *evm.Executor, log string) {
		out := new(lines)
		n, err := New(cfg, slog.New(slog.NewTextHandler(out, nil)))
		check(t, err)
		check(t, n.Close())
		return n.learned.executor, out.String()
	}
	executor, _ := open()
	again, err := executor.EncodeSpeculationCache(blocks[0].ParentHash())
	check(t, err)
	if !bytes.Equal(again, learned) {
		t.Error("the next start does not know what the file has")
	}

	for i, damaged := range [][]byte{nil, learned[:len(learned)/2], append(bytes.Clone(learned), 0)} {
		check(t, os.WriteFile(path, damaged, 0o600))
		_, log := open()
		aside, err := filepath.Glob(path + ".damaged-*")
		check(t, err)
		if len(aside) != i+1 || strings.Count(log, "Set aside a damaged store") != 1 {
			t.Errorf("set aside: %v; log:\n%s", aside, log)
		}
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("the damaged file is still there: %v", err)
		}
	}
	foreign, err := executor.EncodeSpeculationCache(blocks[0].Hash())
	check(t, err)
	check(t, os.WriteFile(path, foreign, 0o600))
	if _, log := open(); !strings.Contains(log, "Ignoring the speculation cache") {
		t.Errorf("a cache of another chain; log:\n%s", log)
	}
	beamedTo(t, cfg, genesis, blocks[3:]...)
	if newer, err := os.ReadFile(path); err != nil || bytes.Equal(newer, foreign) {
		t.Errorf("the file was not written anew: %v", err)
	}
}
