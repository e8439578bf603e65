// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/config"
	"github.com/sunbeam-eth/sunbeam/internal/blockfile"
)

// checkImportFiles returns an error, before anything is made, if not one of the files can be opened, or if the datadir is a new
// one and none of them begins with blocks of its network: an import without an init would make it a datadir of mainnet.
func checkImportFiles(cfg *config.Config, files []string) (first error) {
	genesis, err := genesisOfNew(cfg)
	if err != nil {
		return err
	}
	for _, file := range files {
		err := checkImportFile(file, genesis)
		if err == nil {
			return nil
		}
		first = cmp.Or(first, fmt.Errorf("import: %w", err))
	}
	return first
}

func checkImportFile(name string, genesis *core.Genesis) error {
	stat, err := os.Stat(name)
	if err == nil && stat.IsDir() {
		err = fmt.Errorf("%s is a directory, want a file", name)
	}
	if err != nil || genesis == nil {
		return err
	}
	block, err := firstBlock(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	begins := block.Hash()
	if block.NumberU64() > 0 {
		begins = block.ParentHash()
	}
	if want := genesis.ToBlock().Hash(); block.NumberU64() > 1 || begins != want {
		return fmt.Errorf("%s begins with block %d, %s, which does not follow the genesis block of the datadir to be made, %s, of chain %d: "+
			"name the network, as in --sepolia, or run init with its genesis file first", name, block.NumberU64(), block.Hash().Hex(), want.Hex(), genesis.Config.ChainID)
	}
	return nil
}

// genesisOfNew is that of the network that a new datadir is going to have, nil if the datadir has one.
func genesisOfNew(cfg *config.Config) (*core.Genesis, error) {
	for _, path := range []string{filepath.Join(cfg.InstanceDir(), "chaindata"), genesisCopy(cfg)} {
		if _, err := os.Stat(path); err == nil {
			return nil, nil
		}
	}
	if readLastKnown(cfg).Genesis != (common.Hash{}) {
		return nil, nil
	}
	if cfg.Genesis != "" {
		return config.ReadGenesis(cfg.Genesis)
	}
	return knownNetwork(cmp.Or(cfg.Network, "mainnet")).genesis, nil
}

// firstBlock is the one that a file of blocks begins with.
func firstBlock(name string) (block *types.Block, err error) {
	file, err := blockfile.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if block, err = file.Next(); err != nil {
		return nil, fmt.Errorf("block at position 0: %w", err)
	}
	return block, nil
}
