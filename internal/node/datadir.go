// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/config"
	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/internal/blockfile"
)

// Genesis is the genesis block of the network that the configuration names, or else of the datadir's.
func Genesis(cfg *config.Config, log *slog.Logger) (genesis *core.Genesis, err error) {
	if cfg.Genesis == "" && cfg.Network != "" {
		return knownNetwork(cfg.Network).genesis, nil
	}
	if cfg.Genesis != "" {
		return config.ReadGenesis(cfg.Genesis)
	}
	store, err := openStore(cfg, nil, true)
	switch {
	case errors.Is(err, db.ErrAbsent):
		return knownNetwork("mainnet").genesis, nil
	case err != nil:
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	network, err := chooseNetwork(cfg, store.Chain(), readLastKnown(cfg), log)
	if err != nil {
		return nil, err
	}
	return network.genesis, nil
}

// Export writes blocks of the canonical chain to a file, as Import reads it: those from the first to the last number, or all
// that are stored. A file that ends in .gz is zipped. The file appears when it is complete.
func Export(ctx context.Context, cfg *config.Config, path string, numbers []uint64, log *slog.Logger) (err error) {
	store, err := openStore(cfg, nil, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	chain := store.Chain()
	head, ok := chain.Number(chain.Markers().Head)
	if !ok {
		return fmt.Errorf("%s has no blocks yet", cfg.DataDir)
	}
	if len(numbers) == 0 {
		numbers = []uint64{0, head}
	}
	if numbers[1] > head {
		return fmt.Errorf("block %d is not stored: the head is block %d", numbers[1], head)
	}
	partial := path + ".partial"
	file, err := os.OpenFile(partial, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	err = errors.Join(writeBlocks(ctx, chain, blockfile.NewWriter(file, path), numbers[0], numbers[1]), file.Close())
	if err != nil {
		return errors.Join(err, os.Remove(partial))
	}
	if err := os.Rename(partial, path); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	log.Info("Exported blocks", "file", path, "first", numbers[0], "last", numbers[1])
	return nil
}

func writeBlocks(ctx context.Context, chain *db.Chain, file *blockfile.Writer, first, last uint64) error {
	for number := first; number <= last; number++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		hash := chain.CanonicalHash(number)
		header, body := chain.Header(hash, number), chain.Body(hash, number)
		if hash == (common.Hash{}) || header == nil || body == nil {
			return fmt.Errorf("block %d is not stored: name the blocks to export, from %d on", number, max(chain.Markers().Oldest, number+1))
		}
		if err := file.Write(types.NewBlockWithHeader(header).WithBody(*body)); err != nil {
			return fmt.Errorf("export: %w", err)
		}
	}
	return file.Close()
}

// DatabasePaths are the databases of a datadir, and what is kept about them, as far as they are there. It is an error if a node
// runs on the datadir.
func DatabasePaths(cfg *config.Config) ([]string, error) {
	unlock, err := db.Lock(cfg.DataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return databasePaths(cfg), unlock()
}

func databasePaths(cfg *config.Config) (paths []string) {
	names := []string{"chaindata", "beam-hot", "triedb", "nodes", "lastknown.json", "damage.json", speculationCacheName}
	for _, pool := range []string{cfg.BlobDir(), cfg.PoolJournal()} {
		if name, err := filepath.Rel(cfg.InstanceDir(), pool); pool != "" && err == nil && filepath.IsLocal(name) && name != "." {
			names = append(names, name) // elsewhere it is not the datadir's
		}
	}
	return existingIn(cfg.InstanceDir(), names)
}

// existingIn are the paths of those files that are there.
func existingIn(dir string, names []string) (paths []string) {
	for _, name := range names {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			paths = append(paths, path)
		}
	}
	return paths
}

// KeptPaths are the files of a datadir that stay when its databases are removed, as far as they are there.
func KeptPaths(cfg *config.Config) []string {
	return existingIn(cfg.InstanceDir(), []string{"nodekey", "jwtsecret", "genesis.json"})
}

// RemoveDatabase removes the databases of a datadir on which no node runs. Keys and the genesis stay. The pool's
// transactions go: they are of the chain that goes.
func RemoveDatabase(cfg *config.Config, log *slog.Logger) (err error) {
	unlock, err := db.Lock(cfg.DataDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	for _, path := range databasePaths(cfg) {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		log.Info("Removed", "path", path)
	}
	return nil
}
