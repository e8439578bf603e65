// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"bytes"
	"fmt"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	"github.com/ethereum/go-ethereum/rlp"
)

// receiptsPacket70 is a reply with receipts as eth/69 and later encode them (EIP-7642):
// [tx-type, status, gas, logs] without bloom.
type receiptsPacket70 struct {
	RequestID           uint64
	LastBlockIncomplete bool
	List                rlp.RawList[rlp.RawList[eth.Receipt]]
}

// toReceipts converts a block's receipts from network encoding and computes their blooms.
func toReceipts(raw []eth.Receipt) (types.Receipts, error) {
	receipts := make(types.Receipts, len(raw))
	for i := range raw {
		receipt, err := toReceipt(&raw[i])
		if err != nil {
			return nil, fmt.Errorf("receipt %d: %w", i, err)
		}
		receipts[i] = receipt
	}
	return receipts, nil
}

func toReceipt(raw *eth.Receipt) (*types.Receipt, error) {
	if raw.TxType > 0x7f {
		return nil, fmt.Errorf("transaction type %#x", raw.TxType)
	}
	r := &types.Receipt{Type: raw.TxType, CumulativeGasUsed: raw.GasUsed}
	switch status := raw.PostStateOrStatus; {
	case len(status) == 0:
		r.Status = types.ReceiptStatusFailed
	case bytes.Equal(status, []byte{1}):
		r.Status = types.ReceiptStatusSuccessful
	case len(status) == 32: // before Byzantium
		r.PostState = status
	default:
		return nil, fmt.Errorf("status %#x", status)
	}
	if err := rlp.DecodeBytes(raw.Logs, &r.Logs); err != nil {
		return nil, fmt.Errorf("logs: %w", err)
	}
	r.Bloom = types.CreateBloom(r)
	return r, nil
}

// encodeReceipts encodes a block's receipts from index first on, as many as fit in limit
// bytes. incomplete means that some do not fit. The list is nil if the first does not fit.
func encodeReceipts(receipts types.Receipts, first uint64, limit int) (list rlp.RawValue, incomplete bool, err error) {
	var out rlp.RawList[eth.Receipt]
	for i := first; i < uint64(len(receipts)); i++ {
		raw, err := encodeReceipt(receipts[i])
		if err != nil {
			return nil, false, fmt.Errorf("receipt %d: %w", i, err)
		}
		if int(out.Size())+len(raw) > limit {
			if out.Len() == 0 {
				return nil, false, nil
			}
			incomplete = true
			break
		}
		if err := out.AppendRaw(raw); err != nil {
			return nil, false, fmt.Errorf("receipt %d: %w", i, err)
		}
	}
	return out.Bytes(), incomplete, nil
}

func encodeReceipt(r *types.Receipt) ([]byte, error) {
	raw := eth.Receipt{TxType: r.Type, GasUsed: r.CumulativeGasUsed, PostStateOrStatus: r.PostState}
	if len(r.PostState) == 0 && r.Status == types.ReceiptStatusSuccessful {
		raw.PostStateOrStatus = []byte{1}
	}
	logs, err := rlp.EncodeToBytes(r.Logs)
	if err != nil {
		return nil, err
	}
	raw.Logs = logs
	return rlp.EncodeToBytes(&raw)
}
