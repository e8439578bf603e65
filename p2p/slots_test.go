// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/p2p/rlpx"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// TestHalfOpen: connections that send nothing, or garbage, do not keep an honest peer out, and
// their memory is bounded.
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
			_, _ = conn.Write(junk) // the host may have closed the connection
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

// TestCrowd: far more peers than there are slots connect at once. The server fills its
// inbound slots and disconnects the rest with TooManyPeers: before its Hello once the slots are
// taken, after it while newcomers compete for them (how many receive a Hello is a race). The
// admitted ones do not continue with the handshake of eth. After its timeout an honest peer
// gets in.
func TestCrowd(t *testing.T) {
	count := 200
	if testing.Short() {
		count = 40
	}
	chain := newTestChain(t)
	cfg, joined, _ := hostConfig(t, chain)
	server, _ := startHost(t, cfg)
	slots := server.running().MaxInboundConns()
	before, begin := heap(), time.Now()
	answers := make(chan newcomer, count)
	for range count {
		go func() { answers <- shakeHands(t, server.Self()) }()
	}
	var hello, admitted, refused int
	for range count {
		n := receive(t, "answer", answers)
		switch {
		case n.admitted:
			admitted++
		case n.reason == gethp2p.DiscTooManyPeers:
			refused++
		}
		if n.hello {
			hello++
		}
	}
	took, in := time.Since(begin), server.running().PeerCount()
	grown := (int64(heap()) - int64(before)) >> 20
	t.Logf("%d peers connected, %d got a Hello, %d a slot, %d were refused, %d are in; the heap grew by %d MiB, both ends counted", count, hello, admitted, refused, in, grown)
	// A slot is taken until the handshake times out, then the next peer may take it.
	if most := slots * (1 + int(took/handshakeTimeout)); admitted < slots || admitted > most {
		t.Errorf("%d peers got a slot in %v, there are %d", admitted, took, slots)
	}
	if admitted+refused != count || hello < admitted {
		t.Errorf("%d peers were neither admitted nor refused with TooManyPeers", count-admitted-refused)
	}
	if in > slots || grown > 32 {
		t.Errorf("%d peers are in %d slots, the heap grew by %d MiB", in, slots, grown)
	}
	for range 20 { // a host dials again after 30 s only, so the test starts another one
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

// TestFullHost: a host whose inbound slots are taken refuses newcomers before its Hello, and
// admits one as soon as a slot is free.
func TestFullHost(t *testing.T) {
	chain := newTestChain(t)
	cfg, joined, _ := hostConfig(t, chain)
	cfg.MaxPeers = 2 // one slot for dialing, one for inbound peers
	server, _ := startHost(t, cfg)
	clientCfg, _, _ := hostConfig(t, chain)
	clientCfg.ListenAddr, clientCfg.StaticNodes = "", []*enode.Node{server.Self()}
	_, stopClient := startHost(t, clientCfg)
	receive(t, "join", joined)
	for range 3 {
		equal(t, "newcomer at a full host", shakeHands(t, server.Self()), newcomer{reason: gethp2p.DiscTooManyPeers})
	}
	stopClient()
	for deadline := time.Now().Add(20 * time.Second); server.running().PeerCount() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the slot was not freed")
		}
	}
	equal(t, "newcomer at a host with a free slot", shakeHands(t, server.Self()), newcomer{hello: true, admitted: true})
}

const (
	helloMsg      = 0x00 // of devp2p (rlpx.md)
	disconnectMsg = 0x01
	ethOffset     = 0x10 // where the message codes of eth begin
)

// newcomer is how a server answers a connection.
type newcomer struct {
	hello    bool               // it sends its Hello
	admitted bool               // it starts eth
	reason   gethp2p.DiscReason // it disconnects, for this reason
}

// shakeHands goes through the handshakes of RLPx and devp2p, until the server either starts eth
// or disconnects. The connection stays open until the test ends.
func shakeHands(t *testing.T, server *enode.Node) (n newcomer) {
	addr, _ := server.TCPEndpoint()
	fd, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Error(err)
		return n
	}
	t.Cleanup(func() { fd.Close() })
	conn := rlpx.NewConn(fd, server.Pubkey())
	key, err := crypto.GenerateKey()
	if err != nil {
		t.Error(err)
		return n
	}
	if _, err := conn.Handshake(key); err != nil {
		t.Errorf("RLPx handshake: %v", err)
		return n
	}
	for {
		code, payload, _, err := conn.Read()
		if err != nil {
			t.Errorf("disconnected without a reason: %v", err)
			return n
		}
		switch {
		case code == helloMsg:
			n.hello = true
			hello := []any{uint64(5), "crowd", []gethp2p.Cap{{Name: "eth", Version: 71}, {Name: "snap", Version: 1}}, uint64(0), crypto.FromECDSAPub(&key.PublicKey)[1:]}
			enc, err := rlp.EncodeToBytes(hello)
			if err != nil {
				t.Error(err)
				return n
			}
			if _, err := conn.Write(helloMsg, enc); err != nil {
				t.Errorf("send Hello: %v", err)
				return n
			}
			conn.SetSnappy(true) // from the Hello on (rlpx.md, version 5)
		case code == disconnectMsg:
			var reason []uint64
			if err := rlp.DecodeBytes(payload, &reason); err != nil || len(reason) != 1 {
				t.Errorf("Disconnect %x: %v", payload, err)
				return n
			}
			n.reason = gethp2p.DiscReason(reason[0])
			return n
		case code >= ethOffset:
			n.admitted = true
			return n
		}
	}
}

func checkHead(t *testing.T, p *Peer, chain testChain) {
	t.Helper()
	root := chain.CurrentHeader().Root
	nodes, err := p.TrieNodes(testContext(t), root, [][][]byte{{trie.EncodePath(nil)}}, 1<<20)
	if err != nil || len(nodes) != 1 || crypto.Keccak256Hash(nodes[0]) != root {
		t.Errorf("%d nodes, %v", len(nodes), err)
	}
}

// TestStatelessSlots: peers without snap leave slots for those with it.
func TestStatelessSlots(t *testing.T) {
	chain := newTestChain(t)
	cfg, _, _ := hostConfig(t, chain)
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for i := range statelessSlack + 1 {
		equal(t, "refuses", h.tooManyStateless(), false)
		h.peers[string(rune('a'+i))] = NewPeer(Link{}, h.peerCfg)
	}
	equal(t, "refuses", h.tooManyStateless(), true)
	rw, _ := gethp2p.MsgPipe()
	h.peers["with snap"] = NewPeer(Link{Snap: rw}, h.peerCfg)
	equal(t, "refuses", h.tooManyStateless(), false)
}

// TestMakeRoom: a useless peer is disconnected if another one could take its slot, unless it is
// static or another Sunbeam node.
func TestMakeRoom(t *testing.T) {
	chain := newTestChain(t)
	rw, _ := gethp2p.MsgPipe()
	for _, test := range []struct {
		what   string
		links  []Link // of the other peers
		link   Link
		leaves bool
	}{
		{"slots are free", make([]Link, 2), Link{}, false},
		{"only slots for dialing are free", make([]Link, 3), Link{}, true},
		{"no slot is free", make([]Link, 5), Link{}, true},
		{"one more may be dialed", []Link{{}, {Dialed: true, Pinned: true}}, Link{Dialed: true}, false},
		{"no more may be dialed", []Link{{}, {Dialed: true}}, Link{Dialed: true}, true},
		{"inbound slots are free", []Link{{Dialed: true}, {Dialed: true}}, Link{}, false},
		{"static", make([]Link, 5), Link{Pinned: true}, false},
		{"Sunbeam node", make([]Link, 5), Link{Beam: rw}, false},
	} {
		cfg, _, _ := hostConfig(t, chain)
		cfg.MaxPeers = 6
		h, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		for i, link := range test.links {
			h.peers[string(rune('a'+i))] = NewPeer(link, h.peerCfg)
		}
		p := NewPeer(test.link, h.peerCfg)
		h.peers["useless"] = p
		equal(t, test.what, h.MakeRoom("useless"), test.leaves)
		equal(t, test.what+", disconnected", p.isDone(), test.leaves)
		if test.leaves {
			equal(t, test.what, disconnectReason(p.err), gethp2p.DiscUselessPeer)
		}
	}
}
