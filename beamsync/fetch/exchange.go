// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/trie"
)

const (
	// maxReplyBytes is what a geth server gives at most (snap softResponseLimit).
	maxReplyBytes = 2 << 20
	// codeCost is the cost of a code, compared with that of a path, in the scheduler's lookups:
	// 430 / 6 codes of the largest size, 24 KiB, fill a reply.
	codeCost = 6
	// neverCut is how many paths a geth server answers for certain (docs/architecture.md, "Wire facts").
	neverCut = 430
	// storageSetCost is what a storage path set costs in addition to its paths (docs/architecture.md, "Wire facts").
	storageSetCost = 2
)

// wireWant is a want as a wire request sees it; it does not change.
type wireWant struct {
	target
	id              sched.WantID
	depth           int
	storageKeyDepth int
	again           bool // it has been sent before
}

// delivery is what a reply held for one want.
type delivery struct {
	id    sched.WantID
	blob  []byte          // of the node or code that was wanted
	stats trie.FetchStats // what came for it, counted once where wants share nodes
	owner common.Hash
	depth int         // nibbles down to where the path ends, or how far it goes at least beyond what was asked for; 0: not known
	next  *trie.Fault // where the path goes on with a node that did not come and is not held; nil: it ended

	storage []delivery // what came of storage under the account; their id and blob are not set
}

// reply is the outcome of one wire request, verified.
type reply struct {
	request     sched.RequestID
	peer        string
	root        common.Hash // kind Node
	kind        sched.Kind
	result      string
	failed      bool
	failure     sched.Failure
	byHash      bool // no more was asked for than the wanted nodes themselves
	optional    bool // the peer serves paths, too, so an empty reply says nothing about the root
	deliveries  []delivery
	unsatisfied []sched.WantID
	cut         bool   // it ended before something that was asked for and exists
	long        bool   // so much was asked for, or came, that a server may have cut it
	invalid     string // what was wrong
	bytes       int
	items       int
	proved      int                  // different nodes or codes that are true
	unmatched   int                  // blobs that were not requested
	storeErr    error                // the local store failed
	noStorage   map[common.Hash]bool // accounts, requested with storage keys, that have no storage or did not come
}

// exchange performs one wire request and keeps what is true of its reply.
func exchange(ctx context.Context, p peer.Peer, a sched.Send, wants []wireWant, local trie.Local) *reply {
	r := &reply{request: a.Request, peer: a.Peer, root: a.Root, kind: a.Kind, noStorage: make(map[common.Hash]bool)}
	var (
		blobs [][]byte
		sets  [][][]byte
		asked int
		err   error
	)
	switch data := byHash(p, wants); {
	case data != nil:
		r.byHash, r.optional = true, p.ServesState()
		blobs, err = data.NodeData(ctx, hashesOf(wants))
	case a.Kind == sched.Code:
		blobs, err = p.ByteCodes(ctx, hashesOf(wants), maxReplyBytes)
	default:
		sets, asked = pathSets(wants)
		blobs, err = p.TrieNodes(ctx, a.Root, sets, maxReplyBytes)
	}
	if err != nil {
		r.failed, r.failure, r.result = true, failureOf(err), peer.ResultOf(ctx, err)
		return r
	}
	byKeccak := make(map[common.Hash][]byte, len(blobs))
	for _, blob := range blobs {
		if len(blob) > 0 {
			byKeccak[crypto.Keccak256Hash(blob)] = blob
			r.bytes += len(blob)
			r.items++
		}
	}
	switch {
	case a.Kind == sched.Code:
		err = r.keepCodes(wants, byKeccak, local)
		r.cut = r.bytes >= maxReplyBytes && len(r.unsatisfied) > 0
	case r.byHash:
		err = r.keepNodes(onlyNodes(wants), byKeccak, local)
		r.long = r.bytes >= maxReplyBytes || r.items >= peer.MaxNodeData
		r.cut = r.long && len(r.unsatisfied) > 0
	default:
		err = r.keepNodes(wants, byKeccak, local)
		for _, set := range sets {
			if len(set) > 1 && r.noStorage[common.Hash(set[0])] {
				asked -= len(set) - 1 // not even empty entries come of these
			}
		}
		r.long = asked > neverCut || r.bytes > maxReplyBytes/2
		r.cut = len(blobs) < asked && (r.cut || len(r.unsatisfied) > 0)
	}
	r.storeErr = err
	switch {
	case r.unmatched > 0:
		r.result = peer.ResultInvalid
	case r.items == 0:
		r.result = peer.ResultEmpty
	case len(r.unsatisfied) > 0:
		r.result = peer.ResultPartial
	default:
		r.result = peer.ResultOK
	}
	return r
}

// keepNodes finds what was requested in blobs keyed by keccak256, from the
// wanted nodes down, and puts it into the local store.
//
// Under one state root there is one node at a path, and every path asked for has been
// preceded in its set by that of its parent, up to a node whose hash was known. So an
// honest peer's blobs are all reached from the wanted nodes, whatever was cut off at the
// end or left out: what is not reached is invalid. Only nodes for storage keys may come without
// their account, if the account is deeper than was requested.
func (r *reply) keepNodes(wants []wireWant, byKeccak map[common.Hash][]byte, local trie.Local) error {
	var (
		proved  = make(map[common.Hash]bool, len(byKeccak))
		fresh   []trie.Node
		orphans bool // storage came of which the account did not
	)
	for i := range wants {
		a := &wants[i]
		nodes := trie.Follow(a.fault.Owner, a.fault.Path, a.fault.Hash, a.fault.Key, byKeccak)
		if len(nodes) == 0 {
			r.unsatisfied = append(r.unsatisfied, a.id)
			if len(a.fault.StorageKeys) > 0 && !r.byHash {
				orphans, r.noStorage[a.owner()] = true, true
			}
			continue
		}
		d := delivery{id: a.id, blob: nodes[0].Blob, owner: a.fault.Owner}
		account, err := d.follow(a, nodes, local)
		if err != nil {
			return err
		}
		if d.next != nil && d.depth == 0 {
			r.cut = true
		}
		if len(a.fault.StorageKeys) > 0 {
			storage, err := d.followStorageKeys(a, account, byKeccak, local)
			if err != nil {
				return err
			}
			nodes = append(nodes, storage...)
			r.noStorage[a.owner()] = len(storage) == 0
			orphans = orphans || account == nil && d.next != nil && !r.byHash
		}
		for _, n := range nodes {
			if proved[n.Hash] {
				continue
			}
			proved[n.Hash] = true
			fresh = append(fresh, n)
			d.stats.Nodes++
			d.stats.Bytes += uint64(len(n.Blob))
		}
		r.deliveries = append(r.deliveries, d)
	}
	r.proved = len(proved)
	if !orphans {
		r.noteUnmatched(byKeccak, proved)
	}
	if len(fresh) == 0 {
		return nil
	}
	if err := local.PutNodes(fresh); err != nil {
		return fmt.Errorf("trie nodes: %w", err)
	}
	return nil
}

// keepCodes does the same for codes.
func (r *reply) keepCodes(wants []wireWant, byKeccak map[common.Hash][]byte, local trie.Local) error {
	proved := make(map[common.Hash]bool, len(byKeccak))
	for i := range wants {
		a := &wants[i]
		code, ok := byKeccak[a.code]
		if !ok {
			r.unsatisfied = append(r.unsatisfied, a.id)
			continue
		}
		if err := local.PutCode(a.code, code); err != nil {
			return fmt.Errorf("code: %w", err)
		}
		proved[a.code] = true
		r.deliveries = append(r.deliveries, delivery{id: a.id, blob: code, stats: trie.FetchStats{Codes: 1, Bytes: uint64(len(code))}})
	}
	r.proved = len(proved)
	r.noteUnmatched(byKeccak, proved)
	return nil
}

func (r *reply) noteUnmatched(byKeccak map[common.Hash][]byte, proved map[common.Hash]bool) {
	for hash, blob := range byKeccak {
		if !proved[hash] {
			r.unmatched++
			r.invalid = fmt.Sprintf("%d bytes with hash %x are no requested %s", len(blob), hash, r.kind)
		}
	}
}

// follow finds out where the path of an ask goes on or ends, from what came of it and
// from what is held below. It returns the value at the key if that was reached.
func (d *delivery) follow(a *wireWant, nodes []trie.Node, local trie.Local) (value []byte, err error) {
	last := nodes[len(nodes)-1]
	path, blob := last.Path, last.Blob
	if !bytes.HasPrefix(a.fault.Key, path) {
		return nil, nil
	}
	for {
		step, err := trie.Descend(blob, a.fault.Key[len(path):])
		if err != nil { // the state root is not that of a state; its reader will find out
			return nil, nil //nolint:nilerr // see above
		}
		if step.Kind != trie.StepChild {
			d.depth = len(path)
			return step.Value, nil
		}
		path = a.fault.Key[:len(path)+step.Depth]
		if blob, err = local.Node(a.fault.Owner, path, step.Hash); err != nil {
			return nil, fmt.Errorf("trie nodes: %w", err)
		}
		if blob == nil {
			next := a.fault
			next.Path, next.Hash = path, step.Hash
			d.next = &next
			if len(path) > a.depth {
				d.depth = len(path)
			}
			return nil, nil
		}
	}
}

// failureOf says to the scheduler why a wire request got no reply.
func failureOf(err error) sched.Failure {
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return sched.Unsupported
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return sched.TimedOut
	case errors.Is(err, net.ErrClosed):
		return sched.Disconnected
	}
	return sched.Broken
}
