// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
)

// Blocks pay gas for their bytes, so the gas used in a header bounds the body, the receipts and the access list that belong to it. The
// bounds below follow from the cheapest bytes of each fork, which is known by the fields of the header.
//
// A body: a zero byte of calldata costs 4 gas. Refunds give back up to a half of the gas of a transaction, from London on a fifth (EIP-3529).
// From Prague on the floor is 10 gas a zero byte (EIP-7623); access lists beside it, 57 gas a byte, are not counted by the floor and add a seventh. In
// Amsterdam the floor is 64 gas a byte and counts access lists (EIP-7976, EIP-7981), but the other fields of a transaction, up to 290 bytes for 12,000 gas
// (EIP-2780), and authorizations are cheaper.
//
// Receipts: a byte of log data costs 8 gas. All else costs more: a log without data 375 gas for 24 bytes, a topic 375 for 33, a receipt with its bloom at
// least 12,000 for 320. Refunds count as above; in Amsterdam the gas used is before refunds (EIP-7778).
//
// An access list: a storage key costs at least 2,000 gas for 33 bytes, an account 2,900 for 30, a balance and a nonce of a sender with what the
// recipient and the proposer get 12,000 for 190, a byte of code 200 or more (EIP-8037), which may be beside the others.

const (
	// blockOverhead is for what costs no gas: the encoding of lists, and the accounts and slots of system contracts. It also lets small blocks
	// be read whose gas used is wrong, so that they are found INVALID.
	blockOverhead = 64 << 10
	// publicWithdrawals is far above the 16 of consensus-specs (MAX_WITHDRAWALS_PER_PAYLOAD).
	publicWithdrawals = 1024
	// withdrawalSize is three 64-bit numbers and an address (EIP-4895); withdrawn is an account in an access list with a changed balance.
	withdrawalSize, withdrawn = 50, 70
	smallestWithdrawal        = 25
	// maxUncles is a rule of the protocol before the merge.
	maxUncles = 2
)

// mostWithdrawals returns how many withdrawals a block may have. They cost no gas, and no rule of the execution layer bounds them: on networks
// other than the public ones only the size of a message does, since the first blocks may fund all accounts by withdrawals.
func mostWithdrawals(genesis common.Hash) int {
	switch genesis {
	case params.MainnetGenesisHash, params.SepoliaGenesisHash, params.HoodiGenesisHash:
		return publicWithdrawals
	}
	return maxMessageSize / smallestWithdrawal
}

// bytesPerGas is a fraction.
type bytesPerGas struct{ bytes, gas uint64 }

// of returns how many bytes an amount of gas pays for, at most the size of a message.
func (b bytesPerGas) of(gas uint64) int {
	return int(min(gas, maxMessageSize*b.gas) * b.bytes / b.gas)
}

// maxBodySize returns the size of the largest body of a valid block with a header and so many withdrawals, in bytes.
func maxBodySize(h *types.Header, withdrawals int) int {
	price := bytesPerGas{1, 2}
	switch {
	case h.BlockAccessListHash != nil: // Amsterdam
		price = bytesPerGas{1, 16}
	case h.RequestsHash != nil: // Prague
		price = bytesPerGas{1, 8}
	case h.BaseFee != nil: // London
		price = bytesPerGas{5, 16}
	}
	size := blockOverhead + price.of(h.GasUsed)
	if h.UncleHash != types.EmptyUncleHash {
		size += maxUncles * maxHeaderSize
	}
	if hasWithdrawals(h) {
		size += withdrawals * withdrawalSize
	}
	if h.BlobGasUsed != nil { // the hashes of blobs; the blobs are not in the body
		size += bytesPerGas{common.HashLength + 1, params.BlobTxBlobGasPerBlob}.of(*h.BlobGasUsed)
	}
	return size
}

// maxReceiptsSize returns the size of the largest list of receipts of a valid block with a header, in bytes, in the encoding of any
// version of eth.
func maxReceiptsSize(h *types.Header, _ int) int {
	price := bytesPerGas{1, 4}
	switch {
	case h.BlockAccessListHash != nil: // Amsterdam
		price = bytesPerGas{1, 8}
	case h.BaseFee != nil: // London
		price = bytesPerGas{5, 32}
	}
	return blockOverhead + price.of(h.GasUsed)
}

// maxAccessListSize returns the size of the largest access list of a valid block with a header, in bytes.
func maxAccessListSize(h *types.Header, withdrawals int) int {
	size := blockOverhead + bytesPerGas{1, 32}.of(h.GasUsed)
	if hasWithdrawals(h) {
		size += withdrawals * withdrawn
	}
	return size
}

func hasWithdrawals(h *types.Header) bool {
	return h.WithdrawalsHash != nil && *h.WithdrawalsHash != types.EmptyWithdrawalsHash
}

// blocksRequest is a request for one kind of content of blocks.
type blocksRequest struct {
	hashes      []common.Hash
	withdrawals int // the most of a block
	item        int // bytes of the largest content of a block that was requested
	reply       int // bytes of the largest reply: servers fill a message, or stop at the soft limit
}

// requestBlocks makes a request for what has a size by a header and the most withdrawals of a block.
func (p *Peer) requestBlocks(headers []*types.Header, size func(h *types.Header, withdrawals int) int) blocksRequest {
	r := blocksRequest{hashes: make([]common.Hash, len(headers)), withdrawals: mostWithdrawals(p.cfg.Chain.Genesis().Hash()), reply: replyOverhead}
	for i, h := range headers {
		most := min(size(h, r.withdrawals)+perItem, maxMessageSize)
		r.hashes[i] = h.Hash()
		r.item = max(r.item, most)
		r.reply = min(r.reply+most, maxMessageSize)
	}
	return r
}

// checkSize checks the size of the content of the i-th block before it is decoded.
func (p *Peer) checkSize(msg message, i int, size uint64, limit int) error {
	if size > uint64(limit) {
		return p.disconnect(KindOversize, fmt.Errorf("%s: block %d has %d bytes, limit %d", msg, i, size, limit))
	}
	return nil
}
