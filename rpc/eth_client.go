package rpc

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

// chainAPI is the part of the eth namespace that reads blocks and what is in them. None of
// it fetches.
type chainAPI struct{ b *backend }

// ChainId returns the chain id of EIP-155.
func (api *chainAPI) ChainId() *hexutil.Big {
	return (*hexutil.Big)(api.b.Chain.Config().ChainID)
}

// BlockNumber returns the number of the head.
func (api *chainAPI) BlockNumber() hexutil.Uint64 {
	return hexutil.Uint64(api.b.Chain.CurrentHeader().Number.Uint64())
}

// Syncing returns false once the head is VALID and served. Consensus clients read
// anything else as a node that is down; how much state is held is in eth_capabilities
// and beam_status.
func (api *chainAPI) Syncing() any {
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

// Accounts returns none: the node holds no keys.
func (api *chainAPI) Accounts() []common.Address { return []common.Address{} }
