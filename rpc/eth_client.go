// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

// clientAPI is the part of the eth namespace about the node itself.
type clientAPI struct{ b *backend }

// ChainId returns the chain id of EIP-155.
func (api *clientAPI) ChainId() *hexutil.Big {
	return (*hexutil.Big)(api.b.Chain.Config().ChainID)
}

// BlockNumber returns the number of the head.
func (api *clientAPI) BlockNumber() hexutil.Uint64 {
	return hexutil.Uint64(api.b.Chain.CurrentHeader().Number.Uint64())
}

// Syncing returns false once the head is VALID and its state is served, though the backfill may go on:
// consensus clients take any other value for a node that is offline. eth_capabilities and beam_status report
// how much of the state is stored.
func (api *clientAPI) Syncing() any {
	if api.b.Beam == nil {
		return false
	}
	progress := api.b.Beam.Progress()
	if !progress.Syncing {
		return false
	}
	return jsonObject{
		"startingBlock": hexutil.Uint64(progress.Start),
		"currentBlock":  hexutil.Uint64(progress.Current),
		"highestBlock":  hexutil.Uint64(progress.Highest),
	}
}

// Accounts returns an empty list: the node has no keys.
func (api *clientAPI) Accounts() []common.Address { return []common.Address{} }
