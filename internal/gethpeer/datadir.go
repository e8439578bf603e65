// SPDX-License-Identifier: LGPL-3.0-or-later

package gethpeer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ethereum/go-ethereum/core"
)

// Make fills a datadir once: if cfg.Dir does not exist, geth is started on a directory
// beside it, fill is called, geth is stopped, and only then the directory gets its name.
// What is left has no node key, so that its copies are different peers.
func Make(ctx context.Context, cfg Config, fill func(context.Context, *Process) error) (err error) {
	if _, err := os.Stat(cfg.Dir); err == nil {
		return nil
	}
	final, fresh := cfg.Dir, fmt.Sprintf("%s.%d.new", cfg.Dir, os.Getpid())
	cfg.Dir = fresh
	defer os.RemoveAll(fresh)
	p, err := Start(ctx, cfg)
	if err != nil {
		return err
	}
	if err := errors.Join(fill(ctx, p), p.Close()); err != nil {
		return fmt.Errorf("fill the datadir: %w", err)
	}
	if err := os.Remove(filepath.Join(fresh, "geth", "nodekey")); err != nil {
		return err
	}
	if err := os.Rename(fresh, final); err != nil {
		if _, statErr := os.Stat(final); statErr == nil {
			return nil // another process made the same meanwhile
		}
		return err
	}
	return nil
}

// Copy copies a datadir that no geth is using; dst must not exist.
func Copy(src, dst string) error {
	if err := os.CopyFS(dst, os.DirFS(src)); err != nil {
		return fmt.Errorf("copy datadir: %w", err)
	}
	return nil
}

// ReadGenesis reads a genesis file as geth init does.
func ReadGenesis(path string) (*core.Genesis, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	genesis := new(core.Genesis)
	if err := json.Unmarshal(text, genesis); err != nil {
		return nil, fmt.Errorf("genesis file %s: %w", path, err)
	}
	return genesis, nil
}
