// SPDX-License-Identifier: LGPL-3.0-or-later

package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	bparams "github.com/ethereum/go-ethereum/beacon/params"
	"github.com/ethereum/go-ethereum/common"
)

// finish makes paths absolute and checks what more than one setting decides.
func (c *Config) finish(values source) error {
	datadir, chosen := values["datadir"]
	if !chosen {
		datadir.origin = "default"
		if c.DataDir != "" && slices.Contains([]string{"sepolia", "hoodi"}, c.Network) {
			c.DataDir = filepath.Join(c.DataDir, c.Network) // as geth: a default directory each
		}
	}
	bad := func(flag, value, origin string, err error) error {
		return &ValueError{Flag: flag, Value: value, Origin: origin, Err: err}
	}
	if err := directory(c.DataDir); err != nil {
		return bad("datadir", c.DataDir, datadir.origin, err)
	}
	abs, err := filepath.Abs(c.DataDir)
	if err != nil {
		return bad("datadir", c.DataDir, datadir.origin, err)
	}
	c.DataDir = abs

	if c.P2P.NodeKey != "" && c.P2P.NodeKeyHex != "" {
		return errors.New("--nodekey and --nodekeyhex exclude each other")
	}
	if c.Network != "" && c.Genesis != "" {
		return fmt.Errorf("--network %s and --override.genesis %q exclude each other", c.Network, c.Genesis)
	}
	if c.Engine.JWTSecret == "" {
		if err := existing(c.JWTFile(), jwtFile); err != nil && !TornSecret(c.JWTFile()) {
			return bad("authrpc.jwtsecret", c.JWTFile(), "default", err)
		}
	}
	if c.P2P.NodeKey == "" && c.P2P.NodeKeyHex == "" {
		if err := existing(c.NodeKeyFile(), keyFile); err != nil && !TornSecret(c.NodeKeyFile()) {
			return bad("nodekey", c.NodeKeyFile(), "default", err)
		}
	}
	if path, limit := c.IPCEndpoint(), maxSocketPath(); len(path) > limit {
		return bad("ipcpath", path, cmp.Or(values["ipcpath"].origin, "default"),
			fmt.Errorf("a socket's path may have %d characters, this has %d", limit, len(path)))
	}
	if path := c.IPCEndpoint(); path != "" && runtime.GOOS != "windows" && filepath.Dir(path) != c.DataDir { // there it is no file
		if err := parentExists(path); err != nil {
			return bad("ipcpath", path, cmp.Or(values["ipcpath"].origin, "default"), err)
		}
	}
	if limit := c.Store.MemoryLimitMB; limit > 0 && limit < c.Store.CacheMB {
		return bad("memorylimit", strconv.Itoa(limit), values["memorylimit"].origin, fmt.Errorf("want at least --cache, %d: the caches count", c.Store.CacheMB))
	}
	if err := c.checkPorts(); err != nil {
		return err
	}
	_, err = c.LightClient()
	return err
}

// maxSocketPath is what sun_path has room for without the final zero: unix(7).
func maxSocketPath() int {
	if runtime.GOOS == "linux" {
		return 107
	}
	return 103
}

// existing runs a check on a file of ours if it is already there.
func existing(path string, check func(string) error) error {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return check(path)
}

// LightClient returns what the embedded beacon light client needs, nil if there is to
// be none. The settings mean what they mean to geth's blsync.
func (c *Config) LightClient() (*bparams.ClientConfig, error) {
	b := &c.Beacon
	if len(b.API) == 0 {
		if b.Checkpoint != "" || b.CheckpointFile != "" || b.ChainConfig != "" || b.GenesisValidatorsRoot != "" ||
			b.GenesisTime != 0 || len(b.Headers) > 0 || b.NoFilter {
			return nil, errors.New("the --beacon flags need --beacon.api, the URL of a beacon node")
		}
		return nil, nil
	}
	chain, err := c.beaconChain()
	if err != nil {
		return nil, err
	}
	if b.CheckpointFile != "" {
		if _, err := chain.SetCheckpointFile(b.CheckpointFile); err != nil {
			return nil, err
		}
	}
	if b.Checkpoint != "" {
		chain.Checkpoint = common.HexToHash(b.Checkpoint)
	}
	if chain.Checkpoint == (common.Hash{}) {
		return nil, errors.New("--beacon.config needs --beacon.checkpoint, a finalized beacon block root")
	}
	headers := make(map[string]string)
	for _, header := range b.Headers {
		key, value, _ := strings.Cut(header, ":")
		headers[strings.TrimSpace(key)] = strings.TrimSpace(value)
	}
	return &bparams.ClientConfig{
		ChainConfig:  *chain,
		Apis:         b.API,
		CustomHeader: headers,
		Threshold:    b.Threshold,
		NoFilter:     b.NoFilter,
	}, nil
}

func (c *Config) beaconChain() (*bparams.ChainConfig, error) {
	b := &c.Beacon
	if b.ChainConfig == "" {
		if b.GenesisValidatorsRoot != "" || b.GenesisTime != 0 {
			return nil, errors.New("--beacon.genesis.gvroot and --beacon.genesis.time need --beacon.config")
		}
		if c.Genesis != "" {
			return nil, errors.New("--beacon.api on a network of one's own needs --beacon.config, the beacon chain's config.yaml")
		}
		known := map[string]*bparams.ChainConfig{
			"": bparams.MainnetLightConfig, "mainnet": bparams.MainnetLightConfig,
			"sepolia": bparams.SepoliaLightConfig, "hoodi": bparams.HoodiLightConfig,
		}
		chain := *known[c.Network]
		return &chain, nil
	}
	if b.GenesisValidatorsRoot == "" || b.GenesisTime == 0 {
		return nil, errors.New("--beacon.config needs --beacon.genesis.gvroot and --beacon.genesis.time")
	}
	chain := &bparams.ChainConfig{
		GenesisTime:           b.GenesisTime,
		GenesisValidatorsRoot: common.HexToHash(b.GenesisValidatorsRoot),
	}
	file, err := os.ReadFile(b.ChainConfig)
	if err != nil {
		return nil, err
	}
	return chain, chain.LoadForks(file)
}
