// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/forkid"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/params"
)

// forkConfig is one fork in the result of eth_config (EIP-7910).
type forkConfig struct {
	ActivationTime  uint64                    `json:"activationTime"`
	BlobSchedule    *params.BlobConfig        `json:"blobSchedule"`
	ChainID         *hexutil.Big              `json:"chainId"`
	ForkID          hexutil.Bytes             `json:"forkId"`
	Precompiles     map[string]common.Address `json:"precompiles"`
	SystemContracts map[string]common.Address `json:"systemContracts"`
}

type forkConfigs struct {
	Current *forkConfig `json:"current"`
	Next    *forkConfig `json:"next"`
	Last    *forkConfig `json:"last"`
}

// Config returns the current fork, the next and the last scheduled one.
func (api *clientAPI) Config() *forkConfigs {
	config := api.b.Chain.Config()
	current := config.LatestFork(api.b.Chain.CurrentHeader().Time)
	last := config.LatestFork(^uint64(0))
	result := &forkConfigs{Current: api.fork(config.Timestamp(current))}
	for fork := current + 1; fork <= last; fork++ { // some forks are never scheduled
		if at := config.Timestamp(fork); at != nil {
			result.Next = api.fork(at)
			result.Last = api.fork(config.Timestamp(last))
			break
		}
	}
	return result
}

func (api *clientAPI) fork(at *uint64) *forkConfig {
	if at == nil {
		return nil
	}
	config, genesis := api.b.Chain.Config(), api.b.Chain.Genesis()
	precompiles := make(map[string]common.Address)
	for address, contract := range vm.ActivePrecompiledContracts(config.Rules(config.LondonBlock, true, *at)) {
		precompiles[contract.Name()] = address
	}
	active := *at
	if genesis.Time() >= active {
		active = 0
	}
	id := forkid.NewID(config, genesis, ^uint64(0), *at).Hash
	return &forkConfig{
		ActivationTime:  active,
		BlobSchedule:    config.BlobConfig(config.LatestFork(*at)),
		ChainID:         (*hexutil.Big)(config.ChainID),
		ForkID:          id[:],
		Precompiles:     precompiles,
		SystemContracts: config.ActiveSystemContracts(*at),
	}
}
