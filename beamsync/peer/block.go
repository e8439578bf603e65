// SPDX-License-Identifier: LGPL-3.0-or-later

package peer

import "github.com/ethereum/go-ethereum/core/types"

// Assemble makes the block of a header and its verified body.
func Assemble(h *types.Header, body *types.Body) *types.Block {
	b := *body
	switch {
	case h.WithdrawalsHash == nil:
		b.Withdrawals = nil
	case b.Withdrawals == nil:
		b.Withdrawals = []*types.Withdrawal{}
	}
	return types.NewBlockWithHeader(h).WithBody(b)
}
