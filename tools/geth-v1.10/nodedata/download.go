// SPDX-License-Identifier: LGPL-3.0-or-later

package main

import (
	"context"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/ethereum/go-ethereum/trie"
)

const (
	maxHashes   = 384 // in a request: geth's MaxStateFetch
	maxInFlight = 4   // requests; geth had one to a peer

	// replyLimit is the size in bytes at which a node ends its reply (geth's softResponseLimit).
	replyLimit = 2 << 20
)

// download is a state on its way, as far as the other end has it.
//
// geth's scheduler waits for what is missing, and for the parents of it, and lets only so many wait at one
// depth. So what is absent for good would hold up what is not. When nothing more is to be asked, a new
// scheduler is therefore told that the absent is there, and fed with what has come, until one has no wishes.
type download struct {
	root   common.Hash
	sched  *trie.Sync
	db     ethdb.Database         // what the scheduler has done with
	blobs  map[common.Hash][]byte // all that came
	absent map[common.Hash]bool   // asked for once, and not given

	asked map[common.Hash][]string // in flight: the paths of a node; none of a code
	again []common.Hash            // asked for, but the reply was full

	nodes, codes int
	bytes        uint64
}

func newDownload(root common.Hash) *download {
	return &download{
		root: root, db: rawdb.NewMemoryDatabase(), blobs: make(map[common.Hash][]byte), absent: make(map[common.Hash]bool),
		asked: make(map[common.Hash][]string),
	}
}

// run downloads until all that is missing was asked for. A connection that ends before is an error.
func (d *download) run(ctx context.Context, peer *eth.Peer, ended <-chan error) error {
	for {
		absent := len(d.absent)
		d.sched = state.NewStateSync(d.root, known{d.db, d.absent}, nil)
		if err := d.exhaust(ctx, peer, ended); err != nil {
			return err
		}
		if d.sched.Pending() == 0 {
			return nil
		}
		if len(d.absent) == absent {
			return fmt.Errorf("the scheduler waits for %d nodes and codes, of which none is missing", d.sched.Pending())
		}
	}
}

// known is what a scheduler need not ask for.
type known struct {
	ethdb.KeyValueReader
	absent map[common.Hash]bool
}

// Has is asked with hashes, those of codes behind a prefix.
func (k known) Has(key []byte) (bool, error) {
	if k.absent[common.BytesToHash(key)] {
		return true, nil
	}
	return k.KeyValueReader.Has(key)
}

// exhaust asks until the scheduler has nothing more to ask for.
func (d *download) exhaust(ctx context.Context, peer *eth.Peer, ended <-chan error) error {
	replies := make(chan *eth.Response)
	inFlight := make(map[*eth.Request][]common.Hash)
	for {
		for len(inFlight) < maxInFlight {
			hashes, err := d.next()
			if err != nil {
				return err
			}
			if len(hashes) == 0 {
				break
			}
			request, err := peer.RequestNodeData(hashes, replies)
			if err != nil {
				return fmt.Errorf("ask for %d hashes: %w", len(hashes), err)
			}
			inFlight[request] = hashes
		}
		if len(inFlight) == 0 {
			return nil
		}
		select {
		case reply := <-replies:
			err := d.deliver(inFlight[reply.Req], *reply.Res.(*eth.NodeDataPacket))
			reply.Done <- err // which ends the connection
			if err != nil {
				return err
			}
			delete(inFlight, reply.Req)
		case err := <-ended:
			return fmt.Errorf("connection lost after %d nodes: %w", d.nodes, err)
		case <-ctx.Done():
			return fmt.Errorf("not done after %d nodes, %d missing: %w", d.nodes, len(d.absent), ctx.Err())
		}
	}
}

// next is what to ask for in one request; nothing if there is nothing before the next reply.
func (d *download) next() ([]common.Hash, error) {
	n := min(len(d.again), maxHashes)
	hashes := append([]common.Hash(nil), d.again[:n]...)
	d.again = d.again[n:]
	for len(hashes) < maxHashes {
		paths, nodes, codes := d.sched.Missing(maxHashes - len(hashes))
		if len(nodes)+len(codes) == 0 {
			break
		}
		for i, hash := range append(nodes, codes...) {
			var at []string // a node's path; a code has none
			if i < len(paths) {
				at = paths[i : i+1]
			}
			ask, err := d.want(hash, at)
			if err != nil {
				return nil, err
			}
			if ask {
				hashes = append(hashes, hash)
			}
		}
	}
	return hashes, d.commit()
}

// want says whether to ask for a hash: not if it came for another scheduler, is known to be absent, or is
// asked for in another place.
func (d *download) want(hash common.Hash, paths []string) (ask bool, err error) {
	if blob, came := d.blobs[hash]; came {
		return false, d.process(hash, blob, paths)
	}
	if d.absent[hash] {
		return false, nil
	}
	before, asked := d.asked[hash]
	d.asked[hash] = append(before, paths...)
	return !asked, nil
}

// deliver takes a reply: some of what was asked for, in any order.
func (d *download) deliver(hashes []common.Hash, blobs [][]byte) error {
	open := make(map[common.Hash]bool, len(hashes))
	for _, hash := range hashes {
		open[hash] = true
	}
	size := 0
	for _, blob := range blobs {
		hash := crypto.Keccak256Hash(blob)
		if !open[hash] {
			return fmt.Errorf("nobody asked for %x, which came with %d others for %d hashes", hash, len(blobs)-1, len(hashes))
		}
		delete(open, hash)
		paths := d.asked[hash]
		delete(d.asked, hash)
		if len(paths) > 0 {
			d.nodes++
		} else {
			d.codes++
		}
		d.blobs[hash] = blob
		size += len(blob)
		if err := d.process(hash, blob, paths); err != nil {
			return err
		}
	}
	d.bytes += uint64(size)
	for hash := range open {
		if size >= replyLimit {
			d.again = append(d.again, hash)
		} else {
			d.absent[hash] = true
			delete(d.asked, hash)
		}
	}
	return d.commit()
}

// process gives the scheduler a node at its paths, or a code.
func (d *download) process(hash common.Hash, blob []byte, paths []string) error {
	if len(paths) == 0 {
		if err := d.sched.ProcessCode(trie.CodeSyncResult{Hash: hash, Data: blob}); err != nil {
			return fmt.Errorf("code %x: %w", hash, err)
		}
	}
	for _, path := range paths {
		if err := d.sched.ProcessNode(trie.NodeSyncResult{Path: path, Data: blob}); err != nil {
			return fmt.Errorf("node %x at %x: %w", hash, path, err)
		}
	}
	return nil
}

// commit writes what has everything under it.
func (d *download) commit() error {
	batch := d.db.NewBatch()
	if err := d.sched.Commit(batch); err != nil {
		return err
	}
	return batch.Write()
}

// walk reads a state with geth's tries: every account, every slot, every code.
func walk(db ethdb.Database, root common.Hash) (accounts, slots int, err error) {
	states := state.NewDatabase(db)
	top, err := states.OpenTrie(root)
	if err != nil {
		return 0, 0, err
	}
	it := trie.NewIterator(top.NodeIterator(nil))
	for it.Next() {
		var account types.StateAccount
		if err := rlp.DecodeBytes(it.Value, &account); err != nil {
			return 0, 0, fmt.Errorf("account %x: %w", it.Key, err)
		}
		n, err := walkAccount(states, common.BytesToHash(it.Key), &account)
		if err != nil {
			return 0, 0, fmt.Errorf("account %x: %w", it.Key, err)
		}
		accounts++
		slots += n
	}
	return accounts, slots, it.Err
}

func walkAccount(states state.Database, owner common.Hash, account *types.StateAccount) (slots int, err error) {
	if hash := common.BytesToHash(account.CodeHash); hash != crypto.Keccak256Hash() {
		if _, err := states.ContractCode(owner, hash); err != nil {
			return 0, fmt.Errorf("code: %w", err)
		}
	}
	storage, err := states.OpenStorageTrie(owner, account.Root)
	if err != nil {
		return 0, fmt.Errorf("storage: %w", err)
	}
	it := trie.NewIterator(storage.NodeIterator(nil))
	for it.Next() {
		slots++
	}
	return slots, it.Err
}
