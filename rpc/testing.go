// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"errors"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/payloadbuilder"
)

// testingAPI is the testing namespace (execution-apis, src/testing). It is for test networks.
type testingAPI struct{ b *backend }

// BuildBlockV1 builds a block on the head and returns it without importing it: of exactly these transactions, or of the
// pool's if they are null. The response has the form of engine_getPayload.
func (api *testingAPI) BuildBlockV1(ctx context.Context, parent common.Hash, attributes engine.PayloadAttributes, transactions *[]hexutil.Bytes, extraData *hexutil.Bytes) (*payloadbuilder.Envelope, error) {
	if api.b.Payloads == nil {
		return nil, errors.New("this node builds no blocks")
	}
	if api.b.Chain.CurrentHeader().Hash() != parent {
		return nil, errors.New("parentHash is not current head")
	}
	txs, err := decodeTransactions(transactions)
	if err != nil {
		return nil, err
	}
	extra := []byte{}
	if extraData != nil {
		extra = *extraData
	}
	return api.b.Payloads.BuildOnce(ctx, payloadbuilder.Attributes{PayloadAttributes: attributes, Parent: parent}, txs, extra)
}

// decodeTransactions returns nil only if the list is null.
func decodeTransactions(list *[]hexutil.Bytes) ([]*types.Transaction, error) {
	if list == nil {
		return nil, nil
	}
	encoded := make([][]byte, len(*list))
	for i, tx := range *list {
		encoded[i] = tx
	}
	return engine.DecodeTransactions(encoded)
}
