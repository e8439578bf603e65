// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"fmt"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
)

// maxBodies is the number of bodies in one request, as in go-ethereum. execution-apis requires at least 32.
const maxBodies = 1024

// GetPayloadBodiesByHashV1 returns bodies in the order of the hashes, null for those that are not stored.
func (api *engineAPI) GetPayloadBodiesByHashV1(hashes []common.Hash) ([]*engine.ExecutionPayloadBody, error) {
	return bodiesByHash(api, hashes, api.body)
}

// GetPayloadBodiesByHashV2 returns bodies with their block access lists.
func (api *engineAPI) GetPayloadBodiesByHashV2(hashes []common.Hash) ([]*engine.ExecutionPayloadBodyV2, error) {
	return bodiesByHash(api, hashes, api.bodyV2)
}

// GetPayloadBodiesByRangeV1 returns the bodies of canonical blocks, null for those that are not stored. The
// list ends with the head.
func (api *engineAPI) GetPayloadBodiesByRangeV1(start, count hexutil.Uint64) ([]*engine.ExecutionPayloadBody, error) {
	return bodiesByRange(api, start, count, api.body)
}

// GetPayloadBodiesByRangeV2 returns bodies with their block access lists.
func (api *engineAPI) GetPayloadBodiesByRangeV2(start, count hexutil.Uint64) ([]*engine.ExecutionPayloadBodyV2, error) {
	return bodiesByRange(api, start, count, api.bodyV2)
}

func bodiesByHash[T any](api *engineAPI, hashes []common.Hash, body func(*types.Block) *T) ([]*T, error) {
	if len(hashes) > maxBodies {
		return nil, engine.TooLargeRequest.With(fmt.Errorf("requested count too large: %d", len(hashes)))
	}
	bodies := make([]*T, len(hashes))
	for i, hash := range hashes {
		bodies[i] = body(api.b.validBlock(hash))
	}
	return bodies, nil
}

func bodiesByRange[T any](api *engineAPI, start, count hexutil.Uint64, body func(*types.Block) *T) ([]*T, error) {
	if start == 0 || count == 0 {
		return nil, engine.InvalidParams.With(fmt.Errorf("invalid start or count, start: %v count: %v", start, count))
	}
	if count > maxBodies {
		return nil, engine.TooLargeRequest.With(fmt.Errorf("requested count too large: %v", count))
	}
	bodies := make([]*T, 0, uint64(count))
	head := api.b.Chain.CurrentHeader().Number.Uint64()
	for i := uint64(0); i < uint64(count) && i+uint64(start) >= i && i+uint64(start) <= head; i++ {
		bodies = append(bodies, body(api.b.Chain.BlockByNumber(i+uint64(start))))
	}
	return bodies, nil
}

func (api *engineAPI) body(block *types.Block) *engine.ExecutionPayloadBody {
	if block == nil {
		return nil
	}
	body := &engine.ExecutionPayloadBody{
		TransactionData: make([]hexutil.Bytes, len(block.Transactions())),
		Withdrawals:     block.Withdrawals(),
	}
	for i, tx := range block.Transactions() {
		body.TransactionData[i], _ = tx.MarshalBinary() // cannot fail for a decoded transaction
	}
	if body.Withdrawals == nil && block.Header().WithdrawalsHash != nil {
		body.Withdrawals = []*types.Withdrawal{} // not null since Shanghai
	}
	return body
}

func (api *engineAPI) bodyV2(block *types.Block) *engine.ExecutionPayloadBodyV2 {
	body := api.body(block)
	if body == nil {
		return nil
	}
	result := &engine.ExecutionPayloadBodyV2{ExecutionPayloadBody: *body}
	if list := api.b.Chain.AccessList(block.Hash()); len(list) > 0 {
		result.BlockAccessList = (*hexutil.Bytes)(&list)
	}
	return result
}
