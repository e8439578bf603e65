// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/eth/protocols/snap"
)

// Ranges of leaves with proofs of snap/1 (devp2p caps/snap.md, and the behavior of go-ethereum's
// server). During Beam Sync the local state has gaps: a range ends with the last leaf before
// the first gap, and the proof of its ends shows that more leaves follow. If the first leaf is
// missing, the reply is the same as for an unknown root: empty, without a proof.

// accountTrie is the owner of the account trie. No account has this hash.
//
//nolint:gochecknoglobals // a constant
var accountTrie common.Hash

// rangeSlack is how many percent the slots of a reply may exceed the requested size, so that a
// storage trie that almost fits needs no proof (go-ethereum's value).
const rangeSlack = 10

// serveAccountRange answers GetAccountRange: the accounts from origin up to and including the
// first one at or above limit, or the one that exceeds the requested size. The reply has at
// least one account if one exists at or after origin. An empty reply with the proof of origin
// means that none follows.
func (p *Peer) serveAccountRange(query *snap.GetAccountRangePacket) (any, error) {
	reply := &snap.AccountRangePacket{ID: query.ID}
	state := p.state(query.Root)
	if state == nil {
		return reply, nil
	}
	part := leafRange{origin: query.Origin, limit: query.Limit, maxBytes: min(query.Bytes, softReplySize), deadline: time.Now().Add(maxTrieLookupTime)}
	var accounts []*snap.AccountData
	done := state.Leaves(accountTrie, query.Origin, func(key common.Hash, value []byte) bool {
		accounts = append(accounts, &snap.AccountData{Hash: key, Body: value})
		return part.add(key, value) && part.size <= part.maxBytes
	})
	if len(accounts) == 0 && !done {
		return reply, nil
	}
	if proof := part.prove(state, accountTrie); proof != nil {
		reply.Accounts, reply.Proof = accounts, proof
	}
	return reply, nil
}

// serveStorageRanges answers GetStorageRanges: all slots of one account after another, without
// a proof. The last list may end early: at the limit (of the first account only), at the
// requested size, or before a missing leaf. Then the reply has the proof of its ends, and also
// for a list that does not begin at zero. Accounts without slots have no list.
func (p *Peer) serveStorageRanges(query *snap.GetStorageRangesPacket) (any, error) {
	reply := &snap.StorageRangesPacket{ID: query.ID}
	state := p.state(query.Root)
	if state == nil {
		return reply, nil
	}
	maxBytes := min(query.Bytes, softReplySize)
	part := leafRange{limit: common.MaxHash, maxBytes: maxBytes, deadline: time.Now().Add(maxTrieLookupTime)}
	if len(query.Origin) > 0 {
		part.origin = common.BytesToHash(query.Origin)
	}
	if len(query.Limit) > 0 {
		part.limit = common.BytesToHash(query.Limit)
	}
	for _, account := range query.Accounts[:min(maxLookups, len(query.Accounts))] {
		if account == accountTrie || part.size >= maxBytes || part.late() {
			break
		}
		slots, whole := part.slots(state, account)
		if whole && part.origin == (common.Hash{}) {
			if len(slots) > 0 {
				reply.Slots = append(reply.Slots, slots)
			}
			part.limit = common.MaxHash
			continue
		}
		if len(slots) == 0 && !whole {
			break // the first slot is missing, or the time limit was reached
		}
		if proof := part.prove(state, account); proof != nil {
			reply.Proof = proof
			if len(slots) > 0 {
				reply.Slots = append(reply.Slots, slots)
			}
		}
		break
	}
	return reply, nil
}

// leafRange is the part of a trie in a reply, with its limits.
type leafRange struct {
	origin, limit common.Hash
	maxBytes      uint64
	deadline      time.Time

	size  uint64      // bytes, over all tries
	count int         // leaves of the last trie
	last  common.Hash // key of the last one
}

func (r *leafRange) late() bool { return time.Now().After(r.deadline) }

// add counts a leaf. It returns false if no further leaf fits.
func (r *leafRange) add(key common.Hash, value []byte) bool {
	r.size += uint64(common.HashLength + len(value))
	r.count++
	r.last = key
	return key.Cmp(r.limit) < 0 && !r.late()
}

// slots reads one storage trie. whole means that no slot follows the last one.
func (r *leafRange) slots(state State, account common.Hash) (slots []*snap.StorageData, whole bool) {
	r.count = 0
	hardLimit, cut := r.maxBytes+r.maxBytes*rangeSlack/100, false
	done := state.Leaves(account, r.origin, func(key common.Hash, value []byte) bool {
		if cut = r.size >= hardLimit; cut {
			return false
		}
		slots = append(slots, &snap.StorageData{Hash: key, Body: value})
		cut = !r.add(key, value)
		return !cut
	})
	return slots, done && !cut
}

// prove returns the proof of both ends of the last trie's leaves, each node once.
func (r *leafRange) prove(state State, owner common.Hash) [][]byte {
	proof := state.Prove(owner, r.origin)
	if proof == nil || r.count == 0 {
		return proof
	}
	last := state.Prove(owner, r.last)
	if last == nil {
		return nil
	}
	common := 0
	for common < min(len(proof), len(last)) && string(proof[common]) == string(last[common]) {
		common++
	}
	return append(proof, last[common:]...)
}
