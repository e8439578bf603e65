package rpc

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/forkid"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/params"
)

// aboutAPI is the part of the eth namespace that tells what the node can do.
type aboutAPI struct{ b *backend }

// capabilities is the answer of eth_capabilities (execution-apis pull request 755).
type capabilities struct {
	Head        capabilityHead `json:"head"`
	State       capability     `json:"state"`
	Tx          capability     `json:"tx"`
	Logs        capability     `json:"logs"`
	Receipts    capability     `json:"receipts"`
	Blocks      capability     `json:"blocks"`
	StateProofs capability     `json:"stateproofs"`
}

type capabilityHead struct {
	Number hexutil.Uint64 `json:"number"`
	Hash   common.Hash    `json:"hash"`
}

type capability struct {
	Disabled       bool            `json:"disabled"`
	OldestBlock    *hexutil.Uint64 `json:"oldestBlock,omitempty"`
	DeleteStrategy *deleteStrategy `json:"deleteStrategy,omitempty"`
}

type deleteStrategy struct {
	Type            string          `json:"type"`
	RetentionBlocks *hexutil.Uint64 `json:"retentionBlocks,omitempty"`
}

// Capabilities returns the oldest block for which each kind of query is answered. Queries
// for older ones are error 4444.
func (api *aboutAPI) Capabilities() *capabilities {
	var (
		chain  = api.b.Chain
		head   = chain.CurrentHeader()
		number = head.Number.Uint64()
		blocks = capability{OldestBlock: ptr(hexutil.Uint64(chain.Oldest()))}
		state  = capability{OldestBlock: ptr(hexutil.Uint64(chain.Tail()))}
	)
	if window := api.b.States.Window(); window > 0 {
		if number+1 > window {
			state.OldestBlock = ptr(hexutil.Uint64(max(number+1-window, chain.Tail())))
		}
		state.DeleteStrategy = &deleteStrategy{Type: "window", RetentionBlocks: ptr(hexutil.Uint64(window))}
	}
	return &capabilities{
		Head:        capabilityHead{hexutil.Uint64(number), head.Hash()},
		State:       state,
		Tx:          blocks,
		Logs:        blocks,
		Receipts:    blocks,
		Blocks:      blocks,
		StateProofs: state,
	}
}

// forkConfig is one fork in the answer of eth_config (EIP-7910).
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

// Config returns the current fork, the next and the last one scheduled.
func (api *aboutAPI) Config() *forkConfigs {
	config := api.b.Chain.Config()
	current := config.LatestFork(api.b.Chain.CurrentHeader().Time)
	last := config.LatestFork(^uint64(0))
	answer := &forkConfigs{Current: api.fork(config.Timestamp(current))}
	for fork := current + 1; fork <= last; fork++ { // some forks are never scheduled
		if at := config.Timestamp(fork); at != nil {
			answer.Next = api.fork(at)
			answer.Last = api.fork(config.Timestamp(last))
			break
		}
	}
	return answer
}

func (api *aboutAPI) fork(at *uint64) *forkConfig {
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
