// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/params"
)

// The largest reply to a request is known before it is sent: what was requested, up to the soft limit of servers, and the item
// that exceeds it. A larger message is not read, and proves that the peer does not follow the protocol.
const (
	// maxHeaderSize is twice what a header of any fork takes, with the 32 bytes of extra data that mainnet allows.
	maxHeaderSize = 2 << 10
	// maxNodeSize bounds trie nodes: a branch of 16 hashes takes 532 bytes, leaves and extensions less.
	maxNodeSize = 640
	// maxCodeSize is the largest contract of any fork (EIP-170 and EIP-7954, by go-ethereum's params).
	maxCodeSize = params.MaxCodeSizeAmsterdam
	// maxLeafSize bounds an account or slot with its key.
	maxLeafSize = 256
	// maxTransactionSize bounds a transaction with the blobs of a whole block and their proofs.
	maxTransactionSize = 4 << 20
	// perItem is the overhead of an item's encoding.
	perItem = 4
)

// replySize is the size of a reply with at most so many items of at most so many bytes, that ends with the item that exceeds
// maxBytes or the soft limit of servers.
func replySize(count, item int, maxBytes uint64) int {
	item += perItem
	soft := int(min(maxBytes, softReplySize)) + count*perItem
	whole := maxMessageSize
	if count < maxMessageSize/item {
		whole = count * item
	}
	return replyOverhead + min(whole, soft+item, maxMessageSize-replyOverhead)
}

// leavesSize is the size of a reply with leaves and the proof of two ends. Servers count leaves without their encoding, which
// adds up to a tenth, and give a tenth more than requested for storage.
func leavesSize(lists int, maxBytes uint64) int {
	leaves := int(min(maxBytes, softReplySize))
	return min(replyOverhead+leaves+leaves/2+maxLeafSize+lists*perItem+maxProof*(maxNodeSize+perItem), maxMessageSize)
}

// hashesSize is the size of a reply with at most so many hashes.
func hashesSize(count int) int { return replyOverhead + count*(common.HashLength+1) }
