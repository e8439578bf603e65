// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"context"
	"errors"
	"io"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	"github.com/ethereum/go-ethereum/eth/protocols/snap"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/rlp"
)

// heap is the memory in use after a garbage collection.
func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// lookups is a state of a test chain that counts lookups.
type lookups struct {
	State
	count atomic.Int64
}

func (s *lookups) TrieNode(owner common.Hash, path []byte) []byte {
	s.count.Add(1)
	return s.State.TrieNode(owner, path)
}

func (s *lookups) Leaves(owner, origin common.Hash, each func(common.Hash, []byte) bool) bool {
	s.count.Add(1)
	return s.State.Leaves(owner, origin, each)
}

// only is a backend with one state.
type only struct{ state State }

func (s only) State(common.Hash) State { return s.state }
func (s only) Code(common.Hash) []byte { return make([]byte, 24<<10) }

// TestMaximalRequests: work and reply are bounded for any request.
func TestMaximalRequests(t *testing.T) {
	chain := newTestChain(t)
	root := chain.CurrentHeader().Root
	storer := crypto.Keccak256Hash(testStorer[:])
	many := repeat(storer, 60_000)
	encoded := func(sets []snap.TrieNodePathSet) rlp.RawList[snap.TrieNodePathSet] {
		list, err := rlp.EncodeToRawList(sets)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	deep := append(snap.TrieNodePathSet{storer[:]}, repeat(compact(hexKey(storer)), 20_000)...)
	long := repeat(snap.TrieNodePathSet{make([]byte, 34)}, 20_000)
	endless := repeat(snap.TrieNodePathSet{make([]byte, 1<<20)}, 2)
	for name, request := range map[string]func(*Peer) (any, error){
		"deep paths": func(p *Peer) (any, error) {
			return p.serveTrieNodes(&snap.GetTrieNodesPacket{Root: root, Paths: encoded([]snap.TrieNodePathSet{deep}), Bytes: math.MaxUint64})
		},
		"long paths": func(p *Peer) (any, error) {
			return p.serveTrieNodes(&snap.GetTrieNodesPacket{Root: root, Paths: encoded(long), Bytes: math.MaxUint64})
		},
		"endless paths": func(p *Peer) (any, error) {
			return p.serveTrieNodes(&snap.GetTrieNodesPacket{Root: root, Paths: encoded(endless), Bytes: math.MaxUint64})
		},
		"many accounts": func(p *Peer) (any, error) {
			return p.serveStorageRanges(&snap.GetStorageRangesPacket{Root: root, Accounts: many, Bytes: math.MaxUint64})
		},
		"many accounts of nothing": func(p *Peer) (any, error) {
			return p.serveStorageRanges(&snap.GetStorageRangesPacket{Root: root, Accounts: repeat(common.Hash{1}, 60_000), Bytes: math.MaxUint64})
		},
		"the account trie as storage": func(p *Peer) (any, error) {
			return p.serveStorageRanges(&snap.GetStorageRangesPacket{Root: root, Accounts: make([]common.Hash, 60_000), Origin: storer[:], Bytes: math.MaxUint64})
		},
		"range upside down": func(p *Peer) (any, error) {
			return p.serveAccountRange(&snap.GetAccountRangePacket{Root: root, Origin: storer, Bytes: math.MaxUint64})
		},
		"long ends": func(p *Peer) (any, error) {
			return p.serveStorageRanges(&snap.GetStorageRangesPacket{Root: root, Accounts: many[:3], Origin: make([]byte, 1<<20), Limit: make([]byte, 1<<20), Bytes: math.MaxUint64})
		},
		"many codes": func(p *Peer) (any, error) {
			return p.serveByteCodes(&snap.GetByteCodesPacket{Hashes: many, Bytes: math.MaxUint64})
		},
		"headers": func(p *Peer) (any, error) {
			return p.serveHeaders(&eth.GetBlockHeadersPacket{GetBlockHeadersRequest: &eth.GetBlockHeadersRequest{Amount: math.MaxUint64, Skip: math.MaxUint64, Reverse: true, Origin: eth.HashOrNumber{Number: math.MaxUint64}}})
		},
	} {
		state := &lookups{State: chain.State(root)}
		p := NewPeer(Link{ID: "p", Version: 71}, PeerConfig{NetworkID: 7, Chain: chain, State: only{state}})
		reply, err := request(p)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		enc, err := rlp.EncodeToBytes(reply)
		if err != nil {
			t.Fatal(err)
		}
		items, count := itemsIn(reply), state.count.Load()
		t.Logf("%s: %d lookups, %d items, %d bytes", name, count, items, len(enc))
		if count > maxLookups || len(enc) > softReplySize*5/4 {
			t.Errorf("%s: %d lookups, %d items, %d bytes", name, count, items, len(enc))
		}
		if name == "range upside down" && items != 1 || name == "the account trie as storage" && items+len(enc) > 10 {
			t.Errorf("%s: %d items in %d bytes", name, items, len(enc))
		}
	}
}

// TestMessageSizeLimits: only responses may be large.
func TestMessageSizeLimits(t *testing.T) {
	for m := range message(messageCount) {
		limit := maxIncoming
		if messages[m].role == roleResponse {
			limit = maxMessageSize
		}
		for _, version := range []uint{eth66, eth.ETH71} {
			if _, ok := lookup(messages[m].protocol, version, messages[m].code); !ok {
				continue
			}
			p := NewPeer(Link{ID: "p", Version: version}, PeerConfig{})
			_, err := p.check(messages[m].protocol, gethp2p.Msg{Code: messages[m].code, Size: uint32(limit) + 1})
			wantProtocolError(t, err, KindOversize)
		}
	}
}

// TestRateLimit: requests above the rate limit are delayed, and are no protocol error as long as
// the peer waits for answers.
func TestRateLimit(t *testing.T) {
	chain := newTestChain(t)
	synctest.Test(t, func(t *testing.T) {
		h := newRawPeer(t, 71, chain, chain.serving())
		begin := time.Now()
		for id := range uint64(requestBurst + 3*maxRequestRate) {
			send(h.snap, snap.GetByteCodesMsg, []any{id, []common.Hash{{1}}, uint64(1)})
			equal(t, "id of the reply", readRequest(t, h.snap, snap.ByteCodesMsg), id)
		}
		if took := time.Since(begin); took < 2900*time.Millisecond || took > 3100*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
}

// TestGateWaitsForExecution: requests wait for the node's own blocks up to a limit.
func TestGateWaitsForExecution(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var busy atomic.Bool
		gate := NewGate(1, busy.Load)
		enter := func() time.Duration {
			begin := time.Now()
			if err := gate.enter(t.Context()); err != nil {
				t.Fatal(err)
			}
			gate.leave()
			return time.Since(begin)
		}
		equal(t, "wait without execution", enter(), 0)
		busy.Store(true)
		equal(t, "wait during endless execution", enter(), gatePause)
		time.AfterFunc(48*time.Millisecond, func() { busy.Store(false) })
		equal(t, "wait during short execution", enter(), 50*time.Millisecond)

		busy.Store(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := gate.enter(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		equal(t, "taken slots", len(gate.slots), 0)
	})
}

// TestFloodOfAll: 50 peers send maximal requests as fast as they are answered. The memory that
// they use is bounded, and the node's own request to an honest peer takes less time than one
// answer to each of the others: it does not wait for its turn among them.
func TestFloodOfAll(t *testing.T) {
	peers, window := 50, 80
	if testing.Short() {
		peers, window = 12, 12
	}
	chain := newTestChain(t)
	state := newBigState(t, 1000, 0)
	cfg := PeerConfig{NetworkID: 7, Chain: chain, State: state, Gate: NewGate(1, nil)}
	before := heap()
	var (
		flooding sync.WaitGroup
		replies  atomic.Int64
		peak     uint64
		pipes    []*gethp2p.MsgPipeRW
		stop     = make(chan struct{})
	)
	for i := range peers {
		h := newRawPeer(t, 71, chain, cfg)
		pipes = append(pipes, h.snap)
		inFlight := make(chan struct{}, window)
		flooding.Go(func() { // reads the replies
			for {
				msg, err := h.snap.ReadMsg()
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, msg.Payload) // cannot fail
				replies.Add(1)
				<-inFlight
			}
		})
		flooding.Go(func() {
			for sent := 0; ; sent++ {
				select {
				case inFlight <- struct{}{}:
				case <-stop:
					return
				}
				if sent%2 == 0 {
					send(h.snap, snap.GetTrieNodesMsg, state.wideQuery(byte(i)))
				} else {
					send(h.snap, snap.GetAccountRangeMsg, &snap.GetAccountRangePacket{Root: state.root, Limit: common.MaxHash, Bytes: math.MaxUint64})
				}
			}
		})
	}
	honest := connect(t, 71, true, cfg, chain.serving())
	for deadline := time.Now().Add(20 * time.Second); replies.Load() < int64(peers); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the flood is not answered")
		}
	}
	const own = 40
	begin := replies.Load()
	for i := range own {
		if _, err := honest.client.Headers(testContext(t), chain.hash(100), 5, true); err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 {
			peak = max(peak, heap())
		}
	}
	answered := replies.Load() - begin
	close(stop)
	for _, pipe := range pipes { // unblocks readers and senders
		pipe.Close()
	}
	flooding.Wait()
	if answered >= int64(peers*own) {
		t.Errorf("%d requests to an honest peer took as long as %d of the others", own, answered)
	}
	grown := (int64(peak) - int64(before)) >> 20
	t.Logf("%d answers to %d peers while the node got %d answers itself; the heap grew by %d MiB", answered, peers, own, grown)
	if grown > int64(peers)*(2*maxIncoming+softReplySize)>>20 {
		t.Errorf("the heap grew by %d MiB", grown)
	}
}

// TestOwnRequestBeforeReplies: the node's own request to a peer waits for the reply that is being
// written, not for all queued replies.
func TestOwnRequestBeforeReplies(t *testing.T) {
	chain := newTestChain(t)
	synctest.Test(t, func(t *testing.T) { ownRequestBeforeReplies(t, chain) })
}

func ownRequestBeforeReplies(t *testing.T, chain testChain) {
	h := newRawPeer(t, 71, chain, chain.serving())
	for id := range uint64(100) {
		send(h.eth, eth.GetBlockHeadersMsg, &eth.GetBlockHeadersPacket{RequestId: id, GetBlockHeadersRequest: &eth.GetBlockHeadersRequest{Origin: eth.HashOrNumber{Number: 1}, Amount: 100}})
	}
	go func() { _, _ = h.peer.Bodies(t.Context(), headersUsing(0)) }()
	synctest.Wait() // until it waits to write
	for replies := 0; ; replies++ {
		msg, err := h.eth.ReadMsg()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, msg.Payload) // cannot fail
		if msg.Code == eth.GetBlockBodiesMsg {
			return
		}
		if replies > 3 {
			t.Fatalf("%d replies went first", replies)
		}
	}
}
