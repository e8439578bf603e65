// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
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

// cpu is the processor time that the process has taken, collecting garbage included.
func cpu() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
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
			size, began := 0, cpu()
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
			b.ReportMetric(float64((cpu()-began).Microseconds())/1000/float64(b.N), "cpu-ms/op")
		})
	}
}

// BenchmarkOwnWork measures a block while 50 peers send maximal requests. The block is
// work for all processors, as speculation makes it: as much hashing as takes some 40 ms.
func BenchmarkOwnWork(b *testing.B) {
	state := newBigState(b, 50_000, 10_000)
	var busy atomic.Bool
	for name, gate := range map[string]*Gate{
		"alone": nil, "gate of 1": NewGate(1, nil), "gate of 2": NewGate(2, nil), "gate of 4": NewGate(4, nil), "gate of 1 that steps back": NewGate(1, busy.Load),
	} {
		b.Run(name, func(b *testing.B) {
			var served atomic.Int64
			stop := func() {}
			if gate != nil {
				stop = flood(b, state, gate, &served)
			}
			defer stop()
			var took time.Duration
			begin := time.Now()
			for range b.N {
				time.Sleep(100 * time.Millisecond)
				block := time.Now()
				busy.Store(true)
				var running sync.WaitGroup
				for range runtime.GOMAXPROCS(0) {
					running.Go(func() {
						for range 2000 {
							crypto.Keccak256(make([]byte, 4096))
						}
					})
				}
				running.Wait()
				busy.Store(false)
				took += time.Since(block)
			}
			b.ReportMetric(float64(took.Milliseconds())/float64(b.N), "ms/block")
			b.ReportMetric(float64(served.Load())/time.Since(begin).Seconds(), "served/s")
		})
	}
}

// flood lets 50 peers send maximal requests until it is stopped.
func flood(b *testing.B, state bigState, gate *Gate, served *atomic.Int64) (stop func()) {
	var running sync.WaitGroup
	var ends []*rawPeer
	for i := range 50 {
		h := newRawPeer(b, 71, state.testChain, PeerConfig{NetworkID: 7, Chain: state.testChain, State: state, Gate: gate})
		ends = append(ends, h)
		query, err := rlp.EncodeToBytes(state.wideQuery(byte(i)))
		if err != nil {
			b.Fatal(err)
		}
		wake := make(chan struct{}, 4) // requests in flight
		running.Go(func() {
			for {
				msg, err := h.snap.ReadMsg()
				if err != nil {
					return
				}
				_ = msg.Discard() // cannot fail
				served.Add(1)
				<-wake
			}
		})
		running.Go(func() {
			for !h.peer.isDone() {
				select {
				case wake <- struct{}{}:
					send(h.snap, snap.GetTrieNodesMsg, rlp.RawValue(query))
				case <-h.peer.done:
				}
			}
		})
	}
	return func() {
		for _, h := range ends {
			h.peer.fail(errStopped)
			h.snap.Close()
		}
		running.Wait()
	}
}
