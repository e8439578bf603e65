package p2p

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/eth/protocols/snap"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// wideQuery is a maximal request for trie nodes of a big state.
func (s bigState) wideQuery(seed byte) *snap.GetTrieNodesPacket {
	var sets []snap.TrieNodePathSet
	for i := range maxLookups / 8 {
		path := trie.Nibbles(crypto.Keccak256Hash([]byte{seed, byte(i), byte(i >> 8)}))
		for depth := range 8 {
			sets = append(sets, snap.TrieNodePathSet{compact(path[:depth])})
		}
	}
	paths, err := rlp.EncodeToRawList(sets)
	if err != nil {
		panic(err)
	}
	return &snap.GetTrieNodesPacket{ID: 1, Root: s.root, Paths: paths, Bytes: softReplySize}
}

// BenchmarkServe is the time of one maximal request, decoding and encoding left out.
func BenchmarkServe(b *testing.B) {
	state := newBigState(b, 50_000, 50_000)
	state.holes = nil
	p := NewPeer(Link{ID: "p", Version: 71}, PeerConfig{NetworkID: 7, Chain: state.testChain, State: state})
	owner := crypto.Keccak256Hash(common.Address{1}.Bytes())
	for name, serve := range map[string]func(i int) (any, error){
		"nodes": func(i int) (any, error) { return p.serveTrieNodes(state.wideQuery(byte(i))) },
		"accounts": func(int) (any, error) {
			return p.serveAccountRange(&snap.GetAccountRangePacket{Root: state.root, Limit: common.MaxHash, Bytes: softReplySize})
		},
		"slots": func(int) (any, error) {
			return p.serveStorageRanges(&snap.GetStorageRangesPacket{Root: state.root, Accounts: []common.Hash{owner}, Bytes: softReplySize})
		},
	} {
		b.Run(name, func(b *testing.B) {
			size := 0
			for i := range b.N {
				reply, err := serve(i)
				if err != nil {
					b.Fatal(err)
				}
				if i == 0 {
					enc, err := rlp.EncodeToBytes(reply)
					if err != nil {
						b.Fatal(err)
					}
					size = len(enc)
				}
			}
			b.ReportMetric(float64(size), "reply-bytes")
		})
	}
}

// BenchmarkOwnWork is how much of its speed work of our own keeps while 50 peers ask for all that
// they can: one goroutine that hashes, as a block import would take it.
func BenchmarkOwnWork(b *testing.B) {
	state := newBigState(b, 50_000, 10_000)
	for _, slots := range []int{0, 1, 2, 4} {
		b.Run(fmt.Sprintf("gate=%d", slots), func(b *testing.B) {
			const peers, span = 50, 2 * time.Second
			var running sync.WaitGroup
			cfg := PeerConfig{NetworkID: 7, Chain: state.testChain, State: state, Gate: NewGate(max(slots, 1))}
			var served atomic.Int64
			var ends []*hostile
			for i := range peers {
				if slots == 0 {
					break
				}
				h := newHostile(b, 71, state.testChain, cfg)
				ends = append(ends, h)
				query := state.wideQuery(byte(i))
				running.Go(func() {
					for {
						msg, err := h.snap.ReadMsg()
						if err != nil {
							return
						}
						if _, err := io.Copy(io.Discard, msg.Payload); err != nil {
							return
						}
						served.Add(1)
					}
				})
				for range 2 {
					running.Go(func() {
						for !h.peer.isGone() {
							say(h.snap, snap.GetTrieNodesMsg, query)
							time.Sleep(5 * time.Millisecond)
						}
					})
				}
			}
			block := make([]byte, 4096)
			hashes := 0
			before := served.Load()
			for begin := time.Now(); time.Since(begin) < span; hashes++ {
				crypto.Keccak256(block)
			}
			b.ReportMetric(float64(hashes)/span.Seconds(), "own/s")
			b.ReportMetric(float64(served.Load()-before)/span.Seconds(), "served/s")
			for _, h := range ends {
				h.peer.fail(errStopped)
			}
			for _, h := range ends {
				h.snap.Close()
			}
			running.Wait()
		})
	}
}
