// SPDX-License-Identifier: LGPL-3.0-or-later

package logindex

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/filtermaps"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/event"

	"github.com/sunbeam-eth/sunbeam/chain"
)

// Chain is what is indexed; *chain.Chain implements it. What is not stored is nil or zero.
type Chain interface {
	CurrentHeader() *types.Header
	Finalized() *types.Header
	Header(hash common.Hash) *types.Header
	CanonicalHash(number uint64) common.Hash
	// Oldest is the lowest block from which on, up to the head, all receipts are stored.
	Oldest() uint64
	Receipts(hash common.Hash) types.Receipts
	// RawReceipts are the stored receipts, without what the block tells.
	RawReceipts(hash common.Hash) types.Receipts
	SubscribeHead(ch chan<- chain.HeadEvent) event.Subscription
}

// blocks is a chain as filter maps read it.
type blocks struct {
	chain   Chain
	missing func() // called when receipts are missing; may be nil
}

// view is the chain up to a head, nil if its blocks are gone already.
func (b blocks) view(head *types.Header) *filtermaps.ChainView {
	return filtermaps.NewChainView(b, head.Number.Uint64(), head.Hash())
}

// GetHeader is for filtermaps.ChainView, as are the other methods.
func (b blocks) GetHeader(hash common.Hash, _ uint64) *types.Header { return b.chain.Header(hash) }

// GetCanonicalHash returns the zero hash for a block that is not stored.
func (b blocks) GetCanonicalHash(number uint64) common.Hash { return b.chain.CanonicalHash(number) }

// GetReceiptsByHash returns nil for receipts that are not stored, and no others.
func (b blocks) GetReceiptsByHash(hash common.Hash) types.Receipts {
	return b.found(hash, b.chain.Receipts(hash))
}

// GetRawReceipts is GetReceiptsByHash without derived fields.
func (b blocks) GetRawReceipts(hash common.Hash, _ uint64) types.Receipts {
	return b.found(hash, b.chain.RawReceipts(hash))
}

func (b blocks) found(hash common.Hash, receipts types.Receipts) types.Receipts {
	switch {
	case receipts != nil:
		return receipts
	case hash == b.chain.CanonicalHash(0):
		return types.Receipts{} // genesis has none, and they need not be stored
	case b.missing != nil:
		b.missing()
	}
	return nil
}
