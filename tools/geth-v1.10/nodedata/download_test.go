// SPDX-License-Identifier: LGPL-3.0-or-later

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/rlp"
)

const (
	accounts  = 50_000 // so many that their leaves are more than the scheduler lets wait at one depth
	contracts = 200    // of these; their codes do not fit one reply
)

// world is a state by hash.
func world(t *testing.T) (root common.Hash, blobs map[common.Hash][]byte) {
	t.Helper()
	db := rawdb.NewMemoryDatabase()
	states := state.NewDatabase(db)
	s, err := state.New(common.Hash{}, states, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint32(accounts) {
		address := common.BytesToAddress(binary.BigEndian.AppendUint32(nil, i+1))
		s.SetBalance(address, big.NewInt(1))
		if i < contracts {
			s.SetCode(address, bytes.Repeat([]byte{byte(i)}, 24_000))
			for slot := range byte(10) {
				s.SetState(address, common.Hash{slot}, common.Hash{slot + 1}) // the same in all
			}
		}
	}
	if root, err = s.Commit(false); err == nil {
		err = states.TrieDB().Commit(root, false, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	blobs = make(map[common.Hash][]byte)
	for it := db.NewIterator(nil, nil); it.Next(); {
		blobs[crypto.Keccak256Hash(it.Value())] = bytes.Clone(it.Value())
	}
	return root, blobs
}

// fetch downloads from what answers.
func fetch(t *testing.T, root common.Hash, answer func(hashes []common.Hash) [][]byte) (*download, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	near, far := p2p.MsgPipe()
	defer near.Close()
	queries := make(chan *eth.GetNodeDataPacket66, maxInFlight) // the pipe has no room for any
	go func() {
		defer close(queries)
		for {
			msg, err := far.ReadMsg()
			if err != nil {
				return
			}
			query := new(eth.GetNodeDataPacket66)
			if err := msg.Decode(query); err != nil {
				t.Error(err)
				return
			}
			queries <- query
		}
	}()
	go func() {
		for query := range queries {
			p2p.Send(far, eth.NodeDataMsg, &eth.NodeDataPacket66{RequestId: query.RequestId, NodeDataPacket: answer(query.GetNodeDataPacket)})
		}
	}()
	peer := eth.NewPeer(eth.ETH66, p2p.NewPeer(enode.ID{1}, "", nil), near, nil)
	defer peer.Close()
	ended := make(chan error, 1)
	go func() { ended <- eth.Handle(new(backend), peer) }()
	d := newDownload(root)
	return d, d.run(ctx, peer, ended)
}

func TestDownload(t *testing.T) {
	root, blobs := world(t)
	leaf := func(blob []byte) bool {
		elements, _, err := rlp.SplitList(blob)
		n, _ := rlp.CountValues(elements)
		return err == nil && n == 2
	}
	for name, held := range map[string]func(common.Hash) bool{
		"all":       func(hash common.Hash) bool { return blobs[hash] != nil },
		"no leaves": func(hash common.Hash) bool { return blobs[hash] != nil && !leaf(blobs[hash]) },
		"a part":    func(hash common.Hash) bool { return hash == root || blobs[hash] != nil && hash[31]%8 > 0 },
	} {
		t.Run(name, func(t *testing.T) {
			asked, given, withheld := make(map[common.Hash]bool), make(map[common.Hash]bool), 0
			d, err := fetch(t, root, func(hashes []common.Hash) (reply [][]byte) {
				size := 0
				for _, hash := range hashes {
					if size >= replyLimit {
						continue // may be asked for again
					}
					if asked[hash] {
						t.Errorf("%x is asked for twice", hash)
					}
					asked[hash] = true
					if !held(hash) {
						withheld++
						continue
					}
					given[hash] = true
					reply = append(reply, blobs[hash])
					size += len(blobs[hash])
				}
				return reply
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d nodes, %d codes, %d missing, %d bytes", d.nodes, d.codes, len(d.absent), d.bytes)
			if d.nodes+d.codes != len(given) || len(d.absent) != withheld {
				t.Errorf("%d given, %d withheld", len(given), withheld)
			}
			switch n, slots, err := walk(d.db, root); {
			case withheld > 0 && err == nil:
				t.Error("it is complete")
			case withheld == 0 && (err != nil || n != accounts || slots != 10*contracts || len(given) != len(blobs)):
				t.Errorf("%d accounts, %d slots, %d of %d nodes and codes: %v", n, slots, len(given), len(blobs), err)
			}
		})
	}
}

func TestNobodyAskedFor(t *testing.T) {
	_, err := fetch(t, common.Hash{1}, func([]common.Hash) [][]byte { return [][]byte{{1}} })
	if err == nil || !strings.Contains(err.Error(), "nobody asked for") {
		t.Error(err)
	}
}
