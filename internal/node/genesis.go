// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/params"

	"github.com/sunbeam-eth/sunbeam/config"
	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/internal/atomicfile"
)

// network is a chain with what is known about its peers.
type network struct {
	name      string // for the log
	genesis   *core.Genesis
	bootnodes []string
	dns       []string
}

// knownNetwork returns one of the networks that --network names.
func knownNetwork(name string) *network {
	dns := func(genesis common.Hash) []string {
		if list := params.KnownDNSNetwork(genesis, "all"); list != "" {
			return []string{list}
		}
		return nil
	}
	switch name {
	case "mainnet":
		return &network{name, core.DefaultGenesisBlock(), params.MainnetBootnodes, dns(params.MainnetGenesisHash)}
	case "sepolia":
		return &network{name, core.DefaultSepoliaGenesisBlock(), params.SepoliaBootnodes, dns(params.SepoliaGenesisHash)}
	case "hoodi":
		return &network{name, core.DefaultHoodiGenesisBlock(), params.HoodiBootnodes, dns(params.HoodiGenesisHash)}
	}
	return nil
}

// ownNetwork is one that somebody made a genesis file for.
func ownNetwork(genesis *core.Genesis) *network {
	if genesis.Config.ChainID == nil {
		return &network{name: "chain without an ID", genesis: genesis}
	}
	return &network{name: fmt.Sprintf("chain %d", genesis.Config.ChainID), genesis: genesis}
}

// override replaces activation times of forks. Those of forks that are active at genesis stay: the genesis block depends on them.
func (n *network) override(times config.Override) error {
	changed, chain := *n.genesis, *n.genesis.Config
	changed.Config = &chain
	for _, fork := range []struct {
		flag, time string
		field      **uint64
	}{
		{"osaka", times.Osaka, &chain.OsakaTime},
		{"bpo1", times.BPO1, &chain.BPO1Time},
		{"bpo2", times.BPO2, &chain.BPO2Time},
		{"amsterdam", times.Amsterdam, &chain.AmsterdamTime},
		{"ubt", times.UBT, &chain.UBTTime},
	} {
		if fork.time == "" {
			continue
		}
		at, err := strconv.ParseUint(fork.time, 10, 64)
		if err != nil {
			return err // checked before
		}
		if at <= n.genesis.Timestamp || *fork.field != nil && **fork.field <= n.genesis.Timestamp {
			return fmt.Errorf("bad value %q for --override.%s: forks that are active at genesis, at %d, belong into the genesis file", fork.time, fork.flag, n.genesis.Timestamp)
		}
		*fork.field = &at
	}
	if err := chain.CheckConfigForkOrder(); err != nil {
		return fmt.Errorf("with the flags --override.*: %w", err)
	}
	n.genesis = &changed
	return nil
}

// genesisCopy is the file in which a datadir keeps the genesis of a network of one's own,
// so that it has to be named once only.
func genesisCopy(cfg *config.Config) string { return filepath.Join(cfg.InstanceDir(), "genesis.json") }

// chooseNetwork finds the network to join: what the configuration says, else what the
// datadir holds, else mainnet.
func chooseNetwork(cfg *config.Config, store *db.Chain, known lastKnown, log *slog.Logger) (*network, error) {
	if cfg.Genesis != "" {
		genesis, err := config.ReadGenesis(cfg.Genesis)
		if err != nil {
			return nil, fmt.Errorf("bad value %q for --override.genesis: %w", cfg.Genesis, err)
		}
		return ownNetwork(genesis), nil
	}
	if cfg.Network != "" {
		return knownNetwork(cfg.Network), nil
	}
	stored := store.CanonicalHash(0) // zero in a new datadir
	for name, hash := range map[string]common.Hash{
		"mainnet": params.MainnetGenesisHash, "sepolia": params.SepoliaGenesisHash, "hoodi": params.HoodiGenesisHash,
	} {
		if stored == hash {
			return knownNetwork(name), nil
		}
	}
	if stored == (common.Hash{}) {
		if lost := lostNetwork(known); lost != nil {
			return lost, nil
		}
	}
	path := genesisCopy(cfg)
	genesis, err := config.ReadGenesis(path)
	switch {
	case err == nil:
		return ownNetwork(genesis), nil
	case stored == (common.Hash{}) && errors.Is(err, fs.ErrNotExist):
		return knownNetwork("mainnet"), nil
	case stored == (common.Hash{}):
		return nil, fmt.Errorf("%s: %w: run init again", path, err)
	}
	genesis, lost := store.Genesis()
	if lost != nil {
		return nil, fmt.Errorf("%s holds a network with genesis block %s that is none of the known ones: name its genesis file with --override.genesis (%s: %w; in the database: %w)",
			cfg.DataDir, stored.Hex(), path, err, lost)
	}
	log.Warn("Genesis file was missing or incomplete, made it again from the database", "file", path, "err", err)
	return ownNetwork(genesis), nil
}

// keepGenesis writes the copy of a network of one's own.
func keepGenesis(cfg *config.Config, genesis *core.Genesis) error {
	text, err := json.MarshalIndent(genesis, "", "  ")
	if err != nil {
		return fmt.Errorf("encode genesis: %w", err)
	}
	path := genesisCopy(cfg)
	if old, err := os.ReadFile(path); err == nil && string(old) == string(text) {
		return nil
	}
	if err := atomicfile.Write(path, text); err != nil {
		return fmt.Errorf("keep genesis: %w", err)
	}
	return nil
}

// nodes are the bootnodes to use: those of the configuration, else the network's.
func (n *network) nodes(given []string) ([]*enode.Node, error) {
	if given == nil {
		given = n.bootnodes
	}
	return parseNodes(given)
}

func parseNodes(urls []string) ([]*enode.Node, error) {
	nodes := make([]*enode.Node, 0, len(urls))
	for _, url := range urls {
		node, err := enode.Parse(enode.ValidSchemes, url)
		if err != nil {
			return nil, fmt.Errorf("bad node URL %q: %w", url, err)
		}
		nodes = append(nodes, node)
	}
	return nodes, nil
}
