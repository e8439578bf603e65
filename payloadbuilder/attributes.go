// SPDX-License-Identifier: LGPL-3.0-or-later

package payloadbuilder

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus/misc/eip1559"
	"github.com/ethereum/go-ethereum/consensus/misc/eip4844"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rlp"
)

// Attributes say what block is wanted.
type Attributes struct {
	engine.PayloadAttributes
	Parent  common.Hash
	Version engine.PayloadVersion // of the structure of the attributes
}

// ID names the payload. It is the same as go-ethereum's for the same attributes: the first 8 bytes of a SHA-256, of which
// the first one is replaced by the version.
func (a *Attributes) ID() (id engine.PayloadID) {
	text := append([]byte{}, a.Parent[:]...)
	text = binary.BigEndian.AppendUint64(text, a.Timestamp)
	text = append(text, a.Random[:]...)
	text = append(text, a.SuggestedFeeRecipient[:]...)
	withdrawals, err := rlp.EncodeToBytes(types.Withdrawals(a.Withdrawals))
	if err != nil {
		panic(err) // withdrawals have no field that cannot be encoded
	}
	text = append(text, withdrawals...)
	if a.BeaconRoot != nil {
		text = append(text, a.BeaconRoot[:]...)
	}
	if a.SlotNumber != nil {
		text = binary.BigEndian.AppendUint64(text, *a.SlotNumber)
	}
	if a.TargetGasLimit != nil {
		text = binary.BigEndian.AppendUint64(text, *a.TargetGasLimit)
	}
	sum := sha256.Sum256(text)
	copy(id[:], sum[:])
	id[0] = byte(a.Version)
	return id
}

// header returns what the header of the block has before the execution.
func (a *Attributes) header(config *params.ChainConfig, parent *types.Header, settings *Settings) (*types.Header, error) {
	number, time := new(big.Int).Add(parent.Number, common.Big1), a.Timestamp
	switch {
	case time <= parent.Time:
		return nil, fmt.Errorf("invalid timestamp, parent %d given %d", parent.Time, time)
	case !config.IsPostMerge(number.Uint64(), time):
		return nil, errors.New("the chain is not in proof of stake")
	case config.IsAmsterdam(number, time) && a.SlotNumber == nil:
		return nil, errors.New("missing slot number")
	case !config.IsShanghai(number, time) && a.Withdrawals != nil:
		return nil, errors.New("withdrawals before shanghai")
	}
	limit := settings.GasLimit
	if config.IsAmsterdam(number, time) && a.TargetGasLimit != nil {
		limit = *a.TargetGasLimit
	}
	header := &types.Header{
		ParentHash: parent.Hash(),
		UncleHash:  types.EmptyUncleHash,
		Coinbase:   a.SuggestedFeeRecipient,
		Difficulty: new(big.Int),
		Number:     number,
		GasLimit:   core.CalcGasLimit(parent.GasLimit, limit),
		Time:       time,
		Extra:      settings.ExtraData,
		MixDigest:  a.Random,
		BaseFee:    eip1559.CalcBaseFee(config, parent),
	}
	if config.IsCancun(number, time) {
		var excess uint64
		if config.IsCancun(parent.Number, parent.Time) {
			excess = eip4844.CalcExcessBlobGas(config, parent, time)
		}
		header.ExcessBlobGas, header.BlobGasUsed, header.ParentBeaconRoot = &excess, new(uint64), a.BeaconRoot
	}
	if config.IsAmsterdam(number, time) {
		header.SlotNumber = a.SlotNumber
	}
	return header, nil
}

// withdrawals of the block: nil before Shanghai, and not nil since.
func (a *Attributes) withdrawals(config *params.ChainConfig, header *types.Header) types.Withdrawals {
	if config.IsShanghai(header.Number, header.Time) && a.Withdrawals == nil {
		return types.Withdrawals{}
	}
	return a.Withdrawals
}
