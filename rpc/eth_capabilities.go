// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

// capabilities is the result of eth_capabilities (execution-apis, src/eth/capabilities.yaml).
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

// Capabilities returns the oldest block that each kind of query can be about. Queries for older ones are
// error 4444.
func (api *clientAPI) Capabilities() *capabilities {
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
