// SPDX-License-Identifier: LGPL-3.0-or-later

package evm

import (
	"github.com/ethereum/go-ethereum/core/types"
)

// HasAccessList reports whether the block carries the access list that its header commits to (EIP-7928).
func HasAccessList(block *types.Block) bool {
	list, want := block.AccessList(), block.BlockAccessListHash()
	return list != nil && want != nil && list.Hash() == *want
}

// withoutWrongList returns the block, without its access list if the header does not commit to that
// list. Parallel execution with a wrong list would reject a valid block. Whether the peer that sent
// the list is to blame is for the caller to decide.
func withoutWrongList(block *types.Block) *types.Block {
	if block.AccessList() == nil || HasAccessList(block) {
		return block
	}
	return types.NewBlockWithHeader(block.Header()).WithBody(*block.Body())
}
