// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
	gethtrie "github.com/ethereum/go-ethereum/trie"
)

// maxStorageRange is how many slots one debug_storageRangeAt returns; the next key is in the result.
const maxStorageRange = 1024

// debugStateAPI is the part of the debug namespace that reads states.
type debugStateAPI struct{ b *backend }

// storageRange are slots of a contract by the hash of their key.
type storageRange struct {
	Storage map[common.Hash]storageEntry `json:"storage"`
	NextKey *common.Hash                 `json:"nextKey"` // null: there are no more
}

type storageEntry struct {
	Key   *common.Hash `json:"key"` // null: only the hash of a key is known
	Value common.Hash  `json:"value"`
}

// StorageRangeAt returns slots of a contract from a hash on, on the state before a block; as in go-ethereum, what earlier
// transactions of the block wrote is not in it.
func (api *debugStateAPI) StorageRangeAt(ctx context.Context, at gethrpc.BlockNumberOrHash, index int, contract common.Address, start hexutil.Bytes, limit int) (*storageRange, error) {
	block, err := api.b.blockAtOrPending(ctx, at)
	if err == nil && block == nil {
		err = fmt.Errorf("block %s not found", at.String())
	}
	if err != nil {
		return nil, err
	}
	if block.NumberU64() == 0 {
		return nil, errors.New("no transaction in genesis")
	}
	return withReplay(ctx, api.b, block, func(ctx context.Context, r *replay) (*storageRange, error) {
		if err := r.advance(ctx, index); err != nil {
			return nil, err
		}
		return r.storageRange(contract, start, min(limit, maxStorageRange))
	})
}

func (v *stateView) storageRange(contract common.Address, start []byte, limit int) (*storageRange, error) {
	result := new(storageRange)
	root := v.state.GetStorageRoot(contract)
	if root == types.EmptyRootHash || root == (common.Hash{}) {
		return result, nil
	}
	storage, err := v.db.OpenStorageTrie(v.header.Root, contract, root, nil)
	if err != nil {
		return nil, err
	}
	nodes, err := storage.NodeIterator(start)
	if err != nil {
		return nil, err
	}
	result.Storage = make(map[common.Hash]storageEntry)
	leaves := gethtrie.NewIterator(nodes)
	for n := 0; leaves.Next(); n++ {
		v.turn.yield()
		if n >= limit {
			result.NextKey = ptr(common.BytesToHash(leaves.Key))
			break
		}
		_, value, _, err := rlp.Split(leaves.Value)
		if err != nil {
			return nil, err
		}
		result.Storage[common.BytesToHash(leaves.Key)] = storageEntry{Value: common.BytesToHash(value)}
	}
	return result, leaves.Err
}

// GetAccessibleState returns the first of the blocks from one to before another, in either direction, whose state can
// be read.
func (api *debugStateAPI) GetAccessibleState(from, to gethrpc.BlockNumber) (uint64, error) {
	first, err := api.b.number(from)
	if err != nil {
		return 0, err
	}
	last, err := api.b.number(to)
	if err != nil {
		return 0, err
	}
	if first == last {
		return 0, errors.New("from and to needs to be different")
	}
	lowest, highest := uint64(0), api.b.Chain.CurrentHeader().Number.Uint64()
	if window := api.b.States.Window(); window > 0 && highest >= window {
		lowest = highest - window + 1
	}
	if up := max(first, lowest); first < last && up < last && up <= highest {
		return up, nil
	}
	if down := min(first, highest); first > last && down > last && down >= lowest {
		return down, nil
	}
	return 0, errors.New("no state found")
}
