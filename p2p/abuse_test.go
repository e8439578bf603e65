package p2p

import (
	"context"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net"
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
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/p2p/rlpx"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// heap is what is in use, after a collection.
func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// lookups is a state of a test chain that counts what it is asked.
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

// TestMaximalRequests: whatever is asked for, the work and the reply are bounded.
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
	for name, ask := range map[string]func(*Peer) (any, error){
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
		reply, err := ask(p)
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

// TestSizes: only what we asked for may be large.
func TestSizes(t *testing.T) {
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
			_, _, err := p.payload(messages[m].protocol, gethp2p.Msg{Code: messages[m].code, Size: uint32(limit) + 1})
			faultOf(t, err, KindOversize)
		}
	}
}

// TestPace: a peer that asks too fast is answered at the pace that is allowed, and is not
// blamed as long as it waits for answers.
func TestPace(t *testing.T) {
	chain := newTestChain(t)
	synctest.Test(t, func(t *testing.T) {
		h := newHostile(t, 71, chain, chain.serving())
		begin := time.Now()
		for id := range uint64(paceBurst + 3*maxPace) {
			say(h.snap, snap.GetByteCodesMsg, []any{id, []common.Hash{{1}}, uint64(1)})
			equal(t, "id of the reply", request(t, h.snap, snap.ByteCodesMsg), id)
		}
		if took := time.Since(begin); took < 2900*time.Millisecond || took > 3100*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
}

// TestGateStepsBack: work of the node's own goes first, for a while.
func TestGateStepsBack(t *testing.T) {
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
		equal(t, "wait beside nothing", enter(), 0)
		busy.Store(true)
		equal(t, "wait beside endless work", enter(), gatePause)
		time.AfterFunc(48*time.Millisecond, func() { busy.Store(false) })
		equal(t, "wait beside some work", enter(), 50*time.Millisecond)

		busy.Store(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := gate.enter(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		equal(t, "taken slots", len(gate.slots), 0)
	})
}

// TestFloodOfAll: 50 peers send maximal requests as fast as they can. What they make the node hold
// is bounded, and what the node itself asks an honest peer, as for a block, is answered in between.
func TestFloodOfAll(t *testing.T) {
	peers, rounds := 50, 40
	if testing.Short() {
		peers, rounds = 12, 6
	}
	chain := newTestChain(t)
	state := newBigState(t, 1000, 0)
	cfg := PeerConfig{NetworkID: 7, Chain: chain, State: state, Gate: NewGate(1, nil)}
	before := heap()
	var (
		flooding      sync.WaitGroup
		sent, replies atomic.Int64
		peak          uint64
		pipes         []*gethp2p.MsgPipeRW
		enough        = make(chan struct{}) // closed when half of all is answered
	)
	for i := range peers {
		h := newHostile(t, 71, chain, cfg)
		pipes = append(pipes, h.snap)
		flooding.Go(func() { // takes what comes, slowly
			for {
				msg, err := h.snap.ReadMsg()
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, msg.Payload) // cannot fail
				if replies.Add(1) == int64(peers*rounds) {
					close(enough)
				}
			}
		})
		flooding.Go(func() {
			for range rounds {
				say(h.snap, snap.GetTrieNodesMsg, state.wideQuery(byte(i)))
				say(h.snap, snap.GetAccountRangeMsg, &snap.GetAccountRangePacket{Root: state.root, Limit: common.MaxHash, Bytes: math.MaxUint64})
				sent.Add(2)
			}
		})
	}
	honest := connect(t, 71, true, cfg, chain.serving())
	for i := range 40 {
		if _, err := honest.client.Headers(testContext(t), chain.hash(100), 5, true); err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 {
			peak = max(peak, heap())
		}
	}
	answered := replies.Load()
	if answered >= int64(peers*rounds) {
		t.Errorf("40 requests to an honest peer took as long as %d of the others", answered)
	}
	<-enough
	for _, pipe := range pipes { // readers wait in them
		pipe.Close()
	}
	flooding.Wait()
	grown := (int64(peak) - int64(before)) >> 20
	t.Logf("%d requests of %d peers, %d answered while the node got 40 answers itself; the heap grew by %d MiB", sent.Load(), peers, answered, grown)
	if grown > int64(peers)*(2*maxIncoming+softReplySize)>>20 {
		t.Errorf("the heap grew by %d MiB", grown)
	}
}

// TestOwnRequestBeforeReplies: what we ask a peer ourselves waits for the reply that is
// being written to it, not for all that it has asked for.
func TestOwnRequestBeforeReplies(t *testing.T) {
	chain := newTestChain(t)
	synctest.Test(t, func(t *testing.T) { ownRequestBeforeReplies(t, chain) })
}

func ownRequestBeforeReplies(t *testing.T, chain testChain) {
	h := newHostile(t, 71, chain, chain.serving())
	for id := range uint64(100) {
		say(h.eth, eth.GetBlockHeadersMsg, &eth.GetBlockHeadersPacket{RequestId: id, GetBlockHeadersRequest: &eth.GetBlockHeadersRequest{Origin: eth.HashOrNumber{Number: 1}, Amount: 100}})
	}
	go func() { _, _ = h.peer.Bodies(t.Context(), []common.Hash{{1}}) }()
	synctest.Wait() // until it waits for its turn
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

// TestHalfOpen: connections that say nothing, or nonsense, do not keep an honest peer out, and
// leave nothing behind.
func TestHalfOpen(t *testing.T) {
	count := 200
	if testing.Short() {
		count = 45
	}
	chain := newTestChain(t)
	cfg, joined, _ := hostConfig(t, chain)
	server, _ := startHost(t, cfg)
	addr, _ := server.Self().TCPEndpoint()
	before := heap()
	var conns []net.Conn
	for i := range count {
		conn, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
		if i%2 == 0 {
			junk := make([]byte, 600)
			for j := range junk {
				junk[j] = byte(rand.Uint32())
			}
			_, _ = conn.Write(junk) // it may have hung up
		}
	}
	clientCfg, _, _ := hostConfig(t, chain)
	clientCfg.ListenAddr, clientCfg.StaticNodes = "", []*enode.Node{server.Self()}
	startHost(t, clientCfg)
	select {
	case <-joined:
	case <-time.After(time.Minute):
		t.Fatal("the honest peer did not get in")
	}
	grown := (int64(heap()) - int64(before)) >> 20
	for _, conn := range conns {
		conn.Close()
	}
	t.Logf("%d half-open connections: the heap grew by %d MiB", count, grown)
	if grown > 64 {
		t.Errorf("the heap grew by %d MiB", grown)
	}
}

// TestCrowd: far more peers than there is room for connect at once, and those that get in do not go on
// with the handshake of eth. An honest peer gets in all the same, when their time is up.
func TestCrowd(t *testing.T) {
	count := 200
	if testing.Short() {
		count = 40
	}
	chain := newTestChain(t)
	cfg, joined, _ := hostConfig(t, chain)
	server, _ := startHost(t, cfg)
	before := heap()
	answers := make(chan uint64, count)
	for range count {
		go func() { answers <- shakeHands(t, server.Self()) }()
	}
	codes := make(map[uint64]int)
	for range count {
		codes[receive(t, "answer", answers)]++
	}
	grown := (int64(heap()) - int64(before)) >> 20
	in := server.running().PeerCount()
	t.Logf("%d peers came, with the answers %v, %d are in; the heap grew by %d MiB, both ends counted", count, codes, in, grown)
	if in > cfg.MaxPeers || codes[helloMsg] == 0 || codes[disconnectMsg] == 0 || grown > 32 {
		t.Error("too many or too few got in, or they take too much room")
	}
	for range 20 { // a host dials again after 30 s only, so another one tries
		clientCfg, clientJoined, _ := hostConfig(t, chain)
		clientCfg.ListenAddr, clientCfg.StaticNodes = "", []*enode.Node{server.Self()}
		_, stop := startHost(t, clientCfg)
		select {
		case p := <-clientJoined:
			receive(t, "join", joined)
			checkHead(t, p, chain)
			return
		case <-time.After(time.Second):
			stop()
		}
	}
	t.Error("the honest peer did not get in")
}

const (
	helloMsg      = 0x00 // of devp2p (rlpx.md)
	disconnectMsg = 0x01
)

// shakeHands goes through the handshakes of RLPx and devp2p and returns the code of the message that
// it is answered. The connection stays open until the test ends.
func shakeHands(t *testing.T, server *enode.Node) uint64 {
	addr, _ := server.TCPEndpoint()
	fd, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Error(err)
		return math.MaxUint64
	}
	t.Cleanup(func() { fd.Close() })
	conn := rlpx.NewConn(fd, server.Pubkey())
	key, err := crypto.GenerateKey()
	if err != nil {
		t.Error(err)
		return math.MaxUint64
	}
	if _, err := conn.Handshake(key); err != nil {
		return math.MaxUint64
	}
	hello, err := rlp.EncodeToBytes([]any{
		uint64(5), "crowd", []gethp2p.Cap{{Name: "eth", Version: 71}, {Name: "snap", Version: 1}}, uint64(0), crypto.FromECDSAPub(&key.PublicKey)[1:],
	})
	if err != nil {
		t.Error(err)
		return math.MaxUint64
	}
	_, _ = conn.Write(helloMsg, hello) // it may have hung up, but said why
	code, _, _, err := conn.Read()
	if err != nil {
		return math.MaxUint64
	}
	return code
}

func checkHead(t *testing.T, p *Peer, chain testChain) {
	t.Helper()
	root := chain.CurrentHeader().Root
	nodes, err := p.TrieNodes(testContext(t), root, [][][]byte{{trie.EncodePath(nil)}}, 1<<20)
	if err != nil || len(nodes) != 1 || crypto.Keccak256Hash(nodes[0]) != root {
		t.Errorf("%d nodes, %v", len(nodes), err)
	}
}
