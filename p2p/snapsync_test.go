// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/eth/protocols/snap"
	"github.com/ethereum/go-ethereum/ethdb"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rlp"
	gethtrie "github.com/ethereum/go-ethereum/trie"
	"github.com/ethereum/go-ethereum/triedb"
	"github.com/ethereum/go-ethereum/triedb/pathdb"
	"github.com/holiman/uint256"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// bigState is a state with accounts, codes, small storage tries and one that takes many
// replies, as a StateBackend with optional gaps.
type bigState struct {
	testChain
	disk  ethdb.Database // by hash
	root  common.Hash
	holes map[common.Hash]bool
}

func newBigState(t testing.TB, accounts, slots int) bigState {
	t.Helper()
	disk := rawdb.NewMemoryDatabase()
	tdb := triedb.NewDatabase(disk, triedb.HashDefaults)
	db, err := state.New(types.EmptyRootHash, state.NewDatabase(tdb, state.NewCodeDB(disk)))
	if err != nil {
		t.Fatal(err)
	}
	fill := func(addr common.Address, n int) {
		for i := range n {
			slot := binary.BigEndian.AppendUint64(nil, uint64(i))
			db.SetState(addr, crypto.Keccak256Hash(slot), crypto.Keccak256Hash(slot, addr[:]))
		}
	}
	for i := range accounts {
		addr := common.BytesToAddress(crypto.Keccak256(binary.BigEndian.AppendUint64(nil, uint64(i))))
		db.SetBalance(addr, uint256.NewInt(uint64(i+1)), tracing.BalanceChangeUnspecified)
		if i%50 == 0 {
			db.SetCode(addr, bytes.Repeat([]byte{byte(i / 50), byte(i / 50 >> 8)}, 500+i%1000), tracing.CodeChangeUnspecified)
			fill(addr, i%130)
		}
	}
	fill(common.Address{1}, slots)
	db.SetNonce(common.Address{1}, 1, tracing.NonceChangeUnspecified)
	root, err := db.Commit(params.Rules{IsEIP158: true, IsByzantium: true}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := tdb.Commit(root, false); err != nil {
		t.Fatal(err)
	}
	return bigState{testChain: newTestChain(t), disk: disk, root: root}
}

func (s bigState) State(root common.Hash) State {
	if state := trie.OpenServed(byHash{s}, nil, root); state != nil {
		return state
	}
	return nil
}

func (s bigState) Code(hash common.Hash) []byte { return rawdb.ReadCode(s.disk, hash) }

// byHash is a bigState as a trie.Store.
type byHash struct{ bigState }

func (s byHash) Code(hash common.Hash) ([]byte, error) { return s.bigState.Code(hash), nil }
func (s byHash) Node(_ common.Hash, _ []byte, hash common.Hash) ([]byte, error) {
	if s.holes[hash] {
		return nil, nil
	}
	return rawdb.ReadLegacyTrieNode(s.disk, hash), nil
}

// syncing is go-ethereum's snap sync as the other end of Peers.
type syncing struct {
	snap.Syncer
	chain *core.BlockChain
}

func (s syncing) Chain() *core.BlockChain                       { return s.chain }
func (s syncing) RunPeer(peer *snap.Peer, h snap.Handler) error { return h(peer) }
func (s syncing) PeerInfo(enode.ID) any                         { return nil }
func (s syncing) Handle(peer *snap.Peer, packet snap.Packet) error {
	switch packet := packet.(type) {
	case *snap.AccountRangePacket:
		hashes, accounts, err := packet.Unpack()
		if err != nil {
			return err
		}
		return s.OnAccounts(peer, packet.ID, hashes, accounts, packet.Proof)
	case *snap.StorageRangesPacket:
		hashes, slots := packet.Unpack()
		return s.OnStorage(peer, packet.ID, hashes, slots, packet.Proof)
	case *snap.ByteCodesPacket:
		return s.OnByteCodes(peer, packet.ID, packet.Codes)
	case *snap.TrieNodesPacket:
		return s.OnTrieNodes(peer, packet.ID, packet.Nodes)
	}
	return nil
}

// join connects go-ethereum's syncer to a Peer that serves a state.
func (s syncing) join(t *testing.T, name string, serving bigState) {
	t.Helper()
	h := newRawPeer(t, 71, serving.testChain, PeerConfig{NetworkID: 7, Chain: serving.testChain, State: serving, Gate: NewGate(1, nil)})
	peer := snap.NewPeer(snap.SNAP1, gethp2p.NewPeer(enode.ID(crypto.Keccak256Hash([]byte(name))), name, nil), h.snap)
	over := make(chan struct{})
	go func() {
		defer close(over)
		_ = snap.Handle(s, peer) // ends with its connection
	}()
	t.Cleanup(func() {
		h.snap.Close()
		<-over
		peer.Close()
	})
	if err := s.Register(peer); err != nil {
		t.Fatal(err)
	}
}

// TestServesGethSnapSync lets go-ethereum's snap sync fetch a whole state from a Peer, and from a
// Peer with the whole state and another with parts of it.
func TestServesGethSnapSync(t *testing.T) {
	accounts, slots := 20_000, 40_000
	if testing.Short() {
		accounts, slots = 800, 8000
	}
	source := newBigState(t, accounts, slots)
	part := source
	part.holes = make(map[common.Hash]bool)
	for it := source.disk.NewIterator(nil, nil); it.Next(); {
		if hash := common.BytesToHash(it.Key()); len(it.Key()) == common.HashLength && hash != source.root && hash[0] < 20 {
			part.holes[hash] = true
		}
	}
	for name, servers := range map[string][]bigState{"one": {source}, "whole and parts": {part, source, part}} {
		t.Run(name, func(t *testing.T) {
			target := rawdb.NewMemoryDatabase()
			syncer := syncing{snap.NewV1Syncer(target, rawdb.PathScheme), source.BlockChain}
			for i, server := range servers {
				syncer.join(t, fmt.Sprint("server", i), server)
			}
			cancel := make(chan struct{})
			defer context.AfterFunc(testContext(t), func() { close(cancel) })()
			if err := syncer.Sync(&types.Header{Root: source.root, Number: common.Big1}, cancel); err != nil {
				t.Fatal(err)
			}
			sameState(t, source, target)
			progress := syncer.Progress()
			t.Logf("%d accounts, %d slots, %d codes by range, %d nodes healed", progress.AccountSynced, progress.StorageSynced, progress.BytecodeSynced, progress.TrienodeHealSynced)
		})
	}
}

// sameState reads everything that go-ethereum's database has under the root.
func sameState(t *testing.T, source bigState, target ethdb.Database) {
	t.Helper()
	tdb := triedb.NewDatabase(target, &triedb.Config{PathDB: &pathdb.Config{NoAsyncGeneration: true}})
	defer tdb.Close()
	count := func(tdb *triedb.Database, disk ethdb.Database) (leaves [2]int, codes int) {
		accounts, err := gethtrie.New(gethtrie.StateTrieID(source.root), tdb)
		if err != nil {
			t.Fatal(err)
		}
		all := gethtrie.NewIterator(accounts.MustNodeIterator(nil))
		for all.Next() {
			leaves[0]++
			var account types.StateAccount
			if err := rlp.DecodeBytes(all.Value, &account); err != nil {
				t.Fatal(err)
			}
			if hash := common.BytesToHash(account.CodeHash); hash != types.EmptyCodeHash && len(rawdb.ReadCode(disk, hash)) > 0 {
				codes++
			}
			storage, err := gethtrie.New(gethtrie.StorageTrieID(source.root, common.Hash(all.Key), account.Root), tdb)
			if err != nil {
				t.Fatal(err)
			}
			slots := gethtrie.NewIterator(storage.MustNodeIterator(nil))
			for slots.Next() {
				leaves[1]++
			}
			if slots.Err != nil {
				t.Fatal(slots.Err)
			}
		}
		if all.Err != nil {
			t.Fatal(all.Err)
		}
		return leaves, codes
	}
	leaves, codes := count(tdb, target)
	wantLeaves, wantCodes := count(triedb.NewDatabase(source.disk, triedb.HashDefaults), source.disk)
	if leaves != wantLeaves || codes != wantCodes || wantCodes == 0 {
		t.Errorf("%v accounts and slots and %d codes arrived, want %v and %d", leaves, codes, wantLeaves, wantCodes)
	}
}
