// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"strconv"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
)

// netAPI is the net namespace.
type netAPI struct{ b *backend }

// Listening returns true.
func (api *netAPI) Listening() bool { return true }

// PeerCount returns the number of connected peers.
func (api *netAPI) PeerCount() hexutil.Uint {
	if api.b.Network == nil {
		return 0
	}
	return hexutil.Uint(len(api.b.Network.PeersInfo()))
}

// Version returns the network id in decimal.
func (api *netAPI) Version() string { return strconv.FormatUint(api.b.cfg.Identity.NetworkID, 10) }

// web3API is the web3 namespace.
type web3API struct{ b *backend }

// ClientVersion returns name and version of the node.
func (api *web3API) ClientVersion() string { return api.b.cfg.Identity.Name }

// Sha3 returns the keccak256 of the input.
func (api *web3API) Sha3(input hexutil.Bytes) hexutil.Bytes { return crypto.Keccak256(input) }
