// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// maxStorageSlots is the number of slots in one eth_getStorageValues, as in go-ethereum.
const maxStorageSlots = 1024

// stateAPI is the part of the eth namespace that reads accounts.
type stateAPI struct{ b *backend }

// GetBalance returns the balance of an account in wei.
func (api *stateAPI) GetBalance(ctx context.Context, address common.Address, at *gethrpc.BlockNumberOrHash) (*hexutil.Big, error) {
	return readState(ctx, api.b, at, func(_ context.Context, v *stateView) (*hexutil.Big, error) {
		return (*hexutil.Big)(v.state.GetBalance(address).ToBig()), nil
	})
}

// GetTransactionCount returns the nonce of an account; for pending, the nonce after its executable pooled
// transactions.
func (api *stateAPI) GetTransactionCount(ctx context.Context, address common.Address, at *gethrpc.BlockNumberOrHash) (*hexutil.Uint64, error) {
	latest := orLatest(at)
	if number, ok := latest.Number(); ok && number == gethrpc.PendingBlockNumber && api.b.Pool != nil {
		nonce, err := withPool(ctx, api.b, func(ctx context.Context) (uint64, error) { return api.b.Pool.Nonce(ctx, address) })
		if err != nil {
			return nil, err
		}
		return (*hexutil.Uint64)(&nonce), nil
	}
	return readState(ctx, api.b, at, func(_ context.Context, v *stateView) (*hexutil.Uint64, error) {
		nonce := hexutil.Uint64(v.state.GetNonce(address))
		return &nonce, nil
	})
}

// GetCode returns the code of an account.
func (api *stateAPI) GetCode(ctx context.Context, address common.Address, at *gethrpc.BlockNumberOrHash) (hexutil.Bytes, error) {
	return readState(ctx, api.b, at, func(_ context.Context, v *stateView) (hexutil.Bytes, error) {
		return v.state.GetCode(address), nil
	})
}

// GetStorageAt returns one slot, 32 bytes.
func (api *stateAPI) GetStorageAt(ctx context.Context, address common.Address, hexKey string, at *gethrpc.BlockNumberOrHash) (hexutil.Bytes, error) {
	key, _, err := decodeStorageKey(hexKey)
	if err != nil {
		return nil, invalidParams("%v: %q", err, hexKey)
	}
	return readState(ctx, api.b, at, func(_ context.Context, v *stateView) (hexutil.Bytes, error) {
		value := v.state.GetState(address, key)
		return value[:], nil
	})
}

// GetStorageValues returns slots of several accounts.
func (api *stateAPI) GetStorageValues(ctx context.Context, requests map[common.Address][]common.Hash, at *gethrpc.BlockNumberOrHash) (map[common.Address][]hexutil.Bytes, error) {
	slots := 0
	for _, keys := range requests {
		slots += len(keys)
	}
	switch {
	case slots > maxStorageSlots:
		return nil, &codedError{codeClientLimit, fmt.Sprintf("too many slots (max %d)", maxStorageSlots)}
	case slots == 0:
		return nil, invalidParams("empty request")
	}
	return readState(ctx, api.b, at, func(_ context.Context, v *stateView) (map[common.Address][]hexutil.Bytes, error) {
		result := make(map[common.Address][]hexutil.Bytes, len(requests))
		for address, keys := range requests {
			values := make([]hexutil.Bytes, len(keys))
			for i, key := range keys {
				value := v.state.GetState(address, key)
				values[i] = value[:]
			}
			result[address] = values
		}
		return result, nil
	})
}
