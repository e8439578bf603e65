// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"context"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// AccountLeaves is AccountRange in plain types: the leaves of the account trie from origin to
// the first at or above limit, their values in the encoding of the trie (snap sends the slim
// one), and the proof of both ends. It verifies nothing but that keys increase.
func (p *Peer) AccountLeaves(ctx context.Context, root, origin, limit common.Hash, maxBytes uint64) (keys []common.Hash, values, proof [][]byte, err error) {
	reply, err := p.AccountRange(ctx, root, origin, limit, maxBytes)
	if err != nil {
		return nil, nil, nil, err
	}
	keys, values = make([]common.Hash, len(reply.Accounts)), make([][]byte, len(reply.Accounts))
	for i, account := range reply.Accounts {
		keys[i] = account.Hash
		if values[i], err = types.FullAccountRLP(account.Body); err != nil {
			return nil, nil, nil, p.disconnect(KindInvalid, fmt.Errorf("%s: account %d: %w", msgAccountRange, i, err))
		}
	}
	return keys, values, reply.Proof, nil
}

// StorageLeaves is StorageRanges in plain types: the leaves of the accounts' storage tries, of
// the first one from origin to the first at or above limit, and the proof of the last list's
// ends if it is incomplete. It verifies nothing but that keys increase.
func (p *Peer) StorageLeaves(ctx context.Context, root common.Hash, accounts []common.Hash, origin, limit common.Hash, maxBytes uint64) (keys [][]common.Hash, values [][][]byte, proof [][]byte, err error) {
	var from, to []byte
	if origin != (common.Hash{}) {
		from = origin[:]
	}
	if limit != common.MaxHash {
		to = limit[:]
	}
	reply, err := p.StorageRanges(ctx, root, accounts, from, to, maxBytes)
	if err != nil {
		return nil, nil, nil, err
	}
	keys, values = make([][]common.Hash, len(reply.Slots)), make([][][]byte, len(reply.Slots))
	for i, slots := range reply.Slots {
		keys[i], values[i] = make([]common.Hash, len(slots)), make([][]byte, len(slots))
		for j, slot := range slots {
			keys[i][j], values[i][j] = slot.Hash, slot.Body
		}
	}
	return keys, values, reply.Proof, nil
}
