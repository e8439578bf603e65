// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/protocols/snap"
	"github.com/ethereum/go-ethereum/rlp"
)

// maxTrieLookupTime limits the time of the lookups for one request: the peer stops waiting
// soon after it (go-ethereum's value).
const maxTrieLookupTime = 5 * time.Second

// serveTrieNodes answers GetTrieNodes in the order of the paths, with an empty entry for a
// missing node. A path set of an account whose storage root node is missing yields no entry,
// an unknown root an empty reply, an empty path set a disconnect. go-ethereum's server does the
// same, so that positions mean the same.
func (p *Peer) serveTrieNodes(query *snap.GetTrieNodesPacket) (any, error) {
	reply := &snap.TrieNodesPacket{ID: query.ID}
	state := p.state(query.Root)
	if state == nil {
		return reply, nil
	}
	lookup := trieLookup{
		state:    state,
		maxBytes: min(query.Bytes, softReplySize),
		deadline: time.Now().Add(maxTrieLookupTime),
	}
	for sets := query.Paths.ContentIterator(); sets.Next() && !lookup.done(); {
		if err := lookup.add(sets.Value()); err != nil {
			return nil, p.disconnect(KindInvalid, fmt.Errorf("%s: %w", msgGetTrieNodes, err))
		}
	}
	reply.Nodes = lookup.nodes
	return reply, nil
}

// state opens the state of a request.
func (p *Peer) state(root common.Hash) State {
	if p.cfg.State == nil {
		return nil
	}
	return p.cfg.State.State(root)
}

// trieLookup collects the nodes of one reply under its limits.
type trieLookup struct {
	state    State
	maxBytes uint64 // the node that exceeds it is the last
	deadline time.Time

	nodes [][]byte
	bytes uint64
	loads int // lookups made, at most maxLookups
}

func (l *trieLookup) done() bool {
	return l.bytes > l.maxBytes || l.loads >= maxLookups || time.Now().After(l.deadline)
}

// add looks up one encoded path set. It decodes one item at a time: a request may have
// millions of them.
func (l *trieLookup) add(set rlp.RawValue) error {
	it, err := rlp.NewListIterator(set)
	if err != nil {
		return fmt.Errorf("path set: %w", err)
	}
	count := it.Count()
	if !it.Next() {
		return errors.New("empty path set")
	}
	first, _, err := rlp.SplitString(it.Value())
	if err != nil {
		return fmt.Errorf("path set: %w", err)
	}
	if count == 1 {
		l.node(accountTrie, first)
		return nil
	}
	owner := common.BytesToHash(first)
	l.loads++
	if owner == accountTrie || l.state.TrieNode(owner, nil) == nil {
		return nil
	}
	for it.Next() && !l.done() {
		path, _, err := rlp.SplitString(it.Value())
		if err != nil {
			return fmt.Errorf("path set: %w", err)
		}
		l.node(owner, path)
	}
	return nil
}

func (l *trieLookup) node(owner common.Hash, compact []byte) {
	var blob []byte
	l.loads++
	if path, ok := nibbles(compact); ok {
		blob = l.state.TrieNode(owner, path)
	}
	l.nodes = append(l.nodes, blob)
	l.bytes += uint64(len(blob))
}

// nibbles decodes a path from compact (hex-prefix) encoding. It rejects paths of more than the
// 64 nibbles of a key and paths with a terminator: no node has them.
func nibbles(compact []byte) ([]byte, bool) {
	if len(compact) == 0 {
		return nil, true
	}
	flag := compact[0] >> 4
	if flag > 1 || len(compact) > 33 {
		return nil, false
	}
	path := make([]byte, 0, 2*len(compact))
	if flag == 1 {
		path = append(path, compact[0]&0x0f)
	}
	for _, b := range compact[1:] {
		path = append(path, b>>4, b&0x0f)
	}
	return path, len(path) <= 64
}

func (p *Peer) serveByteCodes(query *snap.GetByteCodesPacket) (any, error) {
	reply := &snap.ByteCodesPacket{ID: query.ID}
	maxBytes := min(query.Bytes, softReplySize)
	var bytes uint64
	for _, hash := range query.Hashes[:min(maxLookups, len(query.Hashes))] {
		if hash == types.EmptyCodeHash {
			reply.Codes = append(reply.Codes, []byte{})
		} else if code := p.code(hash); len(code) > 0 {
			reply.Codes = append(reply.Codes, code)
			bytes += uint64(len(code))
		}
		if bytes > maxBytes {
			break
		}
	}
	return reply, nil
}

func (p *Peer) code(hash common.Hash) []byte {
	if p.cfg.State == nil {
		return nil
	}
	return p.cfg.State.Code(hash)
}
