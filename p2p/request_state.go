// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/eth/protocols/snap"
	"github.com/ethereum/go-ethereum/rlp"
)

// errNoSnap is the error of state requests to a peer without snap/1.
var errNoSnap = fmt.Errorf("peer does not support snap/1: %w", errors.ErrUnsupported)

// Replies of snap/1 with lists that are counted before they are decoded.
type (
	accountRangePacket struct {
		ID       uint64
		Accounts rlp.RawList[*snap.AccountData]
		Proof    rlp.RawList[[]byte]
	}
	storageRangesPacket struct {
		ID    uint64
		Slots rlp.RawList[[]*snap.StorageData]
		Proof rlp.RawList[[]byte]
	}
)

// TrieNodes requests nodes by path under a state root. A path set is either one account trie
// path (compact encoding), or the 32-byte account hash and storage trie paths (compact
// encoding). The reply has at most one entry per path, in order. It may end early or have empty
// entries, and positions can shift: match by keccak256. An empty reply means that the peer lacks
// the root, or reached maxBytes or its time limit.
func (p *Peer) TrieNodes(ctx context.Context, root common.Hash, sets [][][]byte, maxBytes uint64) ([][]byte, error) {
	if p.link.Snap == nil {
		return nil, errNoSnap
	}
	var count int
	paths := make([]snap.TrieNodePathSet, len(sets))
	for i, set := range sets {
		switch len(set) {
		case 0: // peers disconnect for it
			return nil, fmt.Errorf("%s: path set %d is empty", msgGetTrieNodes, i)
		case 1:
			count++
		default:
			count += len(set) - 1
		}
		paths[i] = set
	}
	if count == 0 {
		return nil, nil
	}
	list, err := rlp.EncodeToRawList(paths)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", msgGetTrieNodes, err)
	}
	nodes, err := queryList[[]byte](ctx, p, msgGetTrieNodes, msgTrieNodes, count, replySize(count, maxNodeSize, maxBytes), func(id uint64) any {
		return &snap.GetTrieNodesPacket{ID: id, Root: root, Paths: list, Bytes: maxBytes}
	})
	if err != nil {
		return nil, err
	}
	return p.blobs(msgTrieNodes, nodes, maxNodeSize)
}

// ByteCodes requests contract code by hash. The reply omits missing ones.
func (p *Peer) ByteCodes(ctx context.Context, hashes []common.Hash, maxBytes uint64) ([][]byte, error) {
	if p.link.Snap == nil {
		return nil, errNoSnap
	}
	if len(hashes) == 0 {
		return nil, nil
	}
	codes, err := queryList[[]byte](ctx, p, msgGetByteCodes, msgByteCodes, len(hashes), replySize(len(hashes), maxCodeSize, maxBytes), func(id uint64) any {
		return &snap.GetByteCodesPacket{ID: id, Hashes: hashes, Bytes: maxBytes}
	})
	if err != nil {
		return nil, err
	}
	return p.blobs(msgByteCodes, codes, maxCodeSize)
}

// AccountRange requests the accounts from origin to the first at or above limit, with the proof
// of both ends. It verifies nothing but that the hashes increase.
func (p *Peer) AccountRange(ctx context.Context, root, origin, limit common.Hash, maxBytes uint64) (*snap.AccountRangePacket, error) {
	if p.link.Snap == nil {
		return nil, errNoSnap
	}
	reply, err := query[accountRangePacket](ctx, p, msgGetAccountRange, msgAccountRange, leavesSize(1, maxBytes), func(id uint64) any {
		return &snap.GetAccountRangePacket{ID: id, Root: root, Origin: origin, Limit: limit, Bytes: maxBytes}
	})
	if err != nil {
		return nil, err
	}
	proof, err := items(p, msgAccountRange, &reply.Proof, maxProof)
	if err != nil {
		return nil, err
	}
	accounts, err := items(p, msgAccountRange, &reply.Accounts, maxMessageSize)
	if err != nil {
		return nil, err
	}
	for i := 1; i < len(accounts); i++ {
		if bytes.Compare(accounts[i-1].Hash[:], accounts[i].Hash[:]) >= 0 {
			return nil, p.disconnect(KindInvalid, fmt.Errorf("%s: account %d out of order", msgAccountRange, i))
		}
	}
	return &snap.AccountRangePacket{ID: reply.ID, Accounts: accounts, Proof: proof}, nil
}

// StorageRanges requests the storage of whole accounts, of the first one from origin to limit
// (both may be nil), with a proof of the last list's ends if it is incomplete. It verifies
// nothing but that the hashes increase.
func (p *Peer) StorageRanges(ctx context.Context, root common.Hash, accounts []common.Hash, origin, limit []byte, maxBytes uint64) (*snap.StorageRangesPacket, error) {
	if p.link.Snap == nil {
		return nil, errNoSnap
	}
	reply, err := query[storageRangesPacket](ctx, p, msgGetStorageRanges, msgStorageRanges, leavesSize(len(accounts), maxBytes), func(id uint64) any {
		return &snap.GetStorageRangesPacket{ID: id, Root: root, Accounts: accounts, Origin: origin, Limit: limit, Bytes: maxBytes}
	})
	if err != nil {
		return nil, err
	}
	proof, err := items(p, msgStorageRanges, &reply.Proof, maxProof)
	if err != nil {
		return nil, err
	}
	slots, err := items(p, msgStorageRanges, &reply.Slots, len(accounts))
	if err != nil {
		return nil, err
	}
	for i, list := range slots {
		for j := 1; j < len(list); j++ {
			if bytes.Compare(list[j-1].Hash[:], list[j].Hash[:]) >= 0 {
				return nil, p.disconnect(KindInvalid, fmt.Errorf("%s: account %d: slot %d out of order", msgStorageRanges, i, j))
			}
		}
	}
	return &snap.StorageRangesPacket{ID: reply.ID, Slots: slots, Proof: proof}, nil
}
