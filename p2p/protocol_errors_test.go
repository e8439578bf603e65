// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	"github.com/ethereum/go-ethereum/eth/protocols/snap"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/rlp"
)

// rawPeer is the other end of a Peer after the handshake: tests send and read any message.
type rawPeer struct {
	peer      *Peer
	eth, snap *gethp2p.MsgPipeRW
	wit, beam *gethp2p.MsgPipeRW
	over      chan error // result of the Peer's Run
}

func newRawPeer(t testing.TB, version uint, chain testChain, cfg PeerConfig) *rawPeer {
	t.Helper()
	ethOurs, ethTheirs := gethp2p.MsgPipe()
	snapOurs, snapTheirs := gethp2p.MsgPipe()
	witOurs, witTheirs := gethp2p.MsgPipe()
	beamOurs, beamTheirs := gethp2p.MsgPipe()
	h := &rawPeer{eth: ethTheirs, snap: snapTheirs, wit: witTheirs, beam: beamTheirs, over: make(chan error, 1)}
	h.peer = NewPeer(Link{ID: "raw", Version: version, Eth: ethOurs, Snap: snapOurs, Wit: witOurs, Beam: beamOurs}, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { h.over <- h.peer.Run(ctx); close(h.over) }()
	t.Cleanup(func() {
		cancel()
		for range h.over {
		}
	})
	if err := gethp2p.ExpectMsg(h.eth, eth.StatusMsg, nil); err != nil {
		t.Fatalf("no status: %v", err)
	}
	status := any(chain.status(version))
	if version == eth66 {
		status = chain.status66()
	}
	if err := gethp2p.Send(h.eth, eth.StatusMsg, status); err != nil {
		t.Fatalf("send status: %v", err)
	}
	if version == eth66 { // it requests the header of the announced head
		id := readRequest(t, h.eth, eth.GetBlockHeadersMsg)
		send(h.eth, eth.BlockHeadersMsg, []any{id, []uint{}})
	}
	return h
}

// readRequest reads the next message of the peer and returns its request id.
func readRequest(t testing.TB, rw *gethp2p.MsgPipeRW, code uint64) uint64 {
	t.Helper()
	msg, err := rw.ReadMsg()
	if err != nil || msg.Code != code {
		t.Fatalf("message %#x, %v, want %#x", msg.Code, err, code)
	}
	payload, err := io.ReadAll(msg.Payload)
	if err != nil {
		t.Fatal(err)
	}
	id, err := requestID(payload, uint32(len(payload)))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// send sends a message. The peer may disconnect during it.
func send(rw *gethp2p.MsgPipeRW, code uint64, packet any) { _ = gethp2p.Send(rw, code, packet) }

// TestProtocolErrors: messages that end the connection at once.
func TestProtocolErrors(t *testing.T) {
	chain := newTestChain(t)
	tx := chain.Block(chain.hash(9)).Transactions()[0]
	raw := func(s string) rlp.RawValue { return common.FromHex(s) }
	tests := []struct {
		name    string
		version uint
		snap    bool
		code    uint64
		packet  any
		kind    Kind
	}{
		{"new block hashes", 69, false, eth.NewBlockHashesMsg, []uint{}, KindUnknownMessage},
		{"node data over eth/69", 69, false, getNodeDataCode, []any{uint64(1), []common.Hash{{1}}}, KindUnknownMessage},
		{"unrequested node data", eth66, false, nodeDataCode, []any{uint64(1), []string{"abc"}}, KindUnrequested},
		{"malformed node data request", eth66, false, getNodeDataCode, []any{uint64(1), []string{"abc"}}, KindMalformed},
		{"block range over eth/66", eth66, false, eth.BlockRangeUpdateMsg, []uint{1}, KindUnknownMessage},
		{"announcement with types over eth/66", eth66, false, eth.NewPooledTransactionHashesMsg, []any{[]byte{1}, []uint32{1}, []common.Hash{{}}}, KindMalformed},
		{"new block", 71, false, eth.NewBlockMsg, []uint{}, KindUnknownMessage},
		{"second status", 71, false, eth.StatusMsg, chain.status(71), KindUnknownMessage},
		{"gap in the codes", 71, false, 0x0d, []uint{}, KindUnknownMessage},
		{"access lists below eth/71", 70, false, eth.GetBlockAccessListsMsg, []uint{1}, KindUnknownMessage},
		{"cells of eth/72", 71, false, eth.GetCellsMsg, []uint{1}, KindUnknownMessage},
		{"unrequested cells", 72, false, eth.CellsMsg, &cellsReply{ID: 5}, KindUnrequested},
		{"malformed request for cells", 72, false, eth.GetCellsMsg, []any{uint64(1), []common.Hash{{1}}, []byte{1}}, KindMalformed},
		{"announcement without columns over eth/72", 72, false, eth.NewPooledTransactionHashesMsg, []any{[]byte{1}, []uint32{1}, []common.Hash{{}}}, KindMalformed},
		{"announcement with columns over eth/71", 71, false, eth.NewPooledTransactionHashesMsg, []any{[]byte{1}, []uint32{1}, []common.Hash{{}}, make([]byte, 16)}, KindMalformed},
		{"access lists of snap/2", 71, true, snap.GetAccessListsMsg, []uint{1}, KindUnknownMessage},
		{"oversize", 71, false, eth.TransactionsMsg, make([]byte, maxMessageSize), KindOversize},
		{"oversize over snap", 71, true, snap.TrieNodesMsg, make([]byte, maxMessageSize), KindOversize},
		{"oversize request", 71, true, snap.GetTrieNodesMsg, make([]byte, maxIncoming), KindOversize},
		{"malformed request", 71, false, eth.GetBlockHeadersMsg, []any{uint64(1), uint64(2)}, KindMalformed},
		{"request with junk behind", 71, false, eth.GetBlockBodiesMsg, raw("c3 01 c0 05"), KindMalformed},
		{"request that is no list", 71, false, eth.GetReceiptsMsg, "abc", KindMalformed},
		{"eth/69 receipts over eth/70", 70, false, eth.GetReceiptsMsg, &eth.GetReceiptsPacket69{}, KindMalformed},
		{"malformed state request", 71, true, snap.GetTrieNodesMsg, []uint{1}, KindMalformed},
		{"empty path set", 71, true, snap.GetTrieNodesMsg, []any{uint64(1), chain.CurrentHeader().Root, []snap.TrieNodePathSet{{}}, uint64(1)}, KindInvalid},
		{"path set of lists", 71, true, snap.GetTrieNodesMsg, []any{uint64(1), chain.CurrentHeader().Root, [][][]string{{{"a"}}}, uint64(1)}, KindInvalid},
		{"path set is no list", 71, true, snap.GetTrieNodesMsg, []any{uint64(1), chain.CurrentHeader().Root, []string{"abc"}, uint64(1)}, KindInvalid},
		{"response without id", 71, false, eth.BlockHeadersMsg, []any{[]uint{}}, KindMalformed},
		{"response that is no list", 71, true, snap.ByteCodesMsg, "abc", KindMalformed},
		{"unrequested headers", 71, false, eth.BlockHeadersMsg, []any{uint64(5), []uint{}}, KindUnrequested},
		{"unrequested nodes", 71, true, snap.TrieNodesMsg, []any{uint64(5), []uint{}}, KindUnrequested},
		{"unrequested transactions", 71, false, eth.PooledTransactionsMsg, []any{uint64(5), []uint{}}, KindUnrequested},
		{"range upside down", 71, false, eth.BlockRangeUpdateMsg, &eth.BlockRangeUpdatePacket{EarliestBlock: 2, LatestBlock: 1, LatestBlockHash: common.Hash{1}}, KindInvalid},
		{"malformed range", 71, false, eth.BlockRangeUpdateMsg, []uint{1}, KindMalformed},
		{"announcement lengths", 71, false, eth.NewPooledTransactionHashesMsg, []any{[]byte{1}, []uint32{1, 2}, []common.Hash{{}}}, KindInvalid},
		{"malformed announcement", 71, false, eth.NewPooledTransactionHashesMsg, []any{[]byte{1}}, KindMalformed},
		{"too many transactions", 71, false, eth.TransactionsMsg, repeat(tx, maxGossiped+1), KindExcess},
		{"transaction sent twice", 71, false, eth.TransactionsMsg, repeat(tx, 2), KindInvalid},
		{"blob transaction broadcast", 71, false, eth.TransactionsMsg, []*types.Transaction{types.NewTx(&types.BlobTx{})}, KindInvalid},
		{"malformed transactions", 71, false, eth.TransactionsMsg, []any{[]uint{1}}, KindMalformed},
		{"transactions that are no list", 71, false, eth.TransactionsMsg, "abc", KindMalformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := newRawPeer(t, test.version, chain, chain.serving())
			rw := h.eth
			if test.snap {
				rw = h.snap
			}
			send(rw, test.code, test.packet)
			wantProtocolError(t, <-h.over, test.kind)
		})
	}
}

func repeat[T any](v T, n int) []T {
	out := make([]T, n)
	for i := range out {
		out[i] = v
	}
	return out
}

// TestInvalidReplies: invalid responses to requests in flight. Only the request concerned
// returns a protocol error.
func TestInvalidReplies(t *testing.T) {
	chain := newTestChain(t)
	ctx := testContext(t)
	header := chain.CurrentHeader()
	receipt := eth.Receipt{PostStateOrStatus: []byte{1}, Logs: []byte{0xc0}}
	two, blocks := []common.Hash{{1}, {2}}, headersUsing(10_000_000, 0)
	headers := func(p *Peer) error { _, err := p.Headers(ctx, common.Hash{1}, 2, true); return err }
	bodies := func(p *Peer) error { _, err := p.Bodies(ctx, blocks); return err }
	receipts := func(p *Peer) error { _, err := p.Receipts(ctx, blocks); return err }
	lists := func(p *Peer) error { _, err := p.AccessLists(ctx, blocks); return err }
	codes := func(p *Peer) error { _, err := p.ByteCodes(ctx, two, 1); return err }
	nodes := func(p *Peer) error {
		_, err := p.TrieNodes(ctx, common.Hash{}, [][][]byte{{{0}}, {{1}, {2}}}, 1)
		return err
	}
	accounts := func(p *Peer) error {
		_, err := p.AccountRange(ctx, common.Hash{}, common.Hash{}, common.Hash{}, 1)
		return err
	}
	slots := func(p *Peer) error { _, err := p.StorageRanges(ctx, common.Hash{}, two, nil, nil, 1); return err }
	account := func(b byte) *snap.AccountData { return &snap.AccountData{Hash: common.Hash{b}, Body: []byte{0xc0}} }
	tests := []struct {
		name    string
		request func(*Peer) error
		snap    bool
		code    uint64 // of the request; the response's is the next one
		fields  []any  // fields of the response after the id
		kind    Kind
	}{
		{"headers", headers, false, eth.GetBlockHeadersMsg, []any{[]*types.Header{header, header, header}}, KindExcess},
		{"header", headers, false, eth.GetBlockHeadersMsg, []any{[]any{[]uint{1}}}, KindMalformed},
		{"null header", headers, false, eth.GetBlockHeadersMsg, []any{[]string{""}}, KindMalformed},
		{"headers missing", headers, false, eth.GetBlockHeadersMsg, nil, KindMalformed},
		{"bodies", bodies, false, eth.GetBlockBodiesMsg, []any{repeat(&types.Body{}, 3)}, KindExcess},
		{"transactions", bodies, false, eth.GetBlockBodiesMsg, []any{[]any{[]any{make([]uint, maxReplyItems+1), []uint{}}}}, KindExcess},
		{"transaction", bodies, false, eth.GetBlockBodiesMsg, []any{[]any{[]any{[]uint{1}, []uint{}}}}, KindMalformed},
		{"receipts", receipts, false, eth.GetReceiptsMsg, []any{false, [][]eth.Receipt{{}, {}, {}}}, KindExcess},
		{"receipt count", receipts, false, eth.GetReceiptsMsg, []any{false, []any{make([]uint, maxReplyItems+1)}}, KindExcess},
		{"receipt status", receipts, false, eth.GetReceiptsMsg, []any{false, []any{[]any{[]any{uint(0), []byte{2}, uint(0), []uint{}}}}}, KindMalformed},
		{"receipt logs", receipts, false, eth.GetReceiptsMsg, []any{false, []any{[]any{[]any{uint(0), []byte{1}, uint(0), []uint{1}}}}}, KindMalformed},
		{"incomplete of nothing", receipts, false, eth.GetReceiptsMsg, []any{true, [][]eth.Receipt{}}, KindInvalid},
		{"incomplete without receipts", receipts, false, eth.GetReceiptsMsg, []any{true, [][]eth.Receipt{{receipt}, {}}}, KindInvalid},
		{"access lists", lists, false, eth.GetBlockAccessListsMsg, []any{[][]uint{{}, {}, {}}}, KindExcess},
		{"access list", lists, false, eth.GetBlockAccessListsMsg, []any{[]string{"no list"}}, KindMalformed},
		{"codes", codes, true, snap.GetByteCodesMsg, []any{[]string{"", "", ""}}, KindExcess},
		{"code", codes, true, snap.GetByteCodesMsg, []any{[][]string{{}}}, KindMalformed},
		{"nodes", nodes, true, snap.GetTrieNodesMsg, []any{[]string{"", "", ""}}, KindExcess},
		{"account order", accounts, true, snap.GetAccountRangeMsg, []any{[]*snap.AccountData{account(2), account(2)}, []string{}}, KindInvalid},
		{"account proof", accounts, true, snap.GetAccountRangeMsg, []any{[]uint{}, make([]string, maxProof+1)}, KindExcess},
		{"storage accounts", slots, true, snap.GetStorageRangesMsg, []any{[][]uint{{}, {}, {}}, []string{}}, KindExcess},
		{"slot order", slots, true, snap.GetStorageRangesMsg, []any{[][]*snap.StorageData{{{Hash: common.Hash{2}}, {Hash: common.Hash{1}}}}, []string{}}, KindInvalid},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := newRawPeer(t, 71, chain, PeerConfig{NetworkID: 7, Chain: chain})
			rw, reply := h.eth, test.code+1
			if test.snap {
				rw = h.snap
			}
			result := make(chan error, 1)
			go func() { result <- test.request(h.peer) }()
			id := readRequest(t, rw, test.code)
			bystander := make(chan error, 1)
			go func() { _, err := h.peer.Headers(ctx, common.Hash{}, 1, true); bystander <- err }()
			readRequest(t, h.eth, eth.GetBlockHeadersMsg)

			send(rw, reply, append([]any{id}, test.fields...))
			wantProtocolError(t, <-result, test.kind)
			wantProtocolError(t, <-h.over, test.kind)
			err := <-bystander
			var violation *ProtocolError
			if !errors.Is(err, ErrPeerGone) || !errors.Is(err, net.ErrClosed) || errors.As(err, &violation) {
				t.Errorf("bystander: %v", err)
			}
		})
	}
}

// TestReceiptsNeverComplete: requests end for a peer that never completes a block's receipts.
func TestReceiptsNeverComplete(t *testing.T) {
	chain := newTestChain(t)
	h := newRawPeer(t, 70, chain, PeerConfig{NetworkID: 7, Chain: chain})
	result := make(chan error, 1)
	go func() { _, err := h.peer.Receipts(testContext(t), headersUsing(0, 0)); result <- err }()
	for range maxReceiptRounds + 1 {
		id := readRequest(t, h.eth, eth.GetReceiptsMsg)
		send(h.eth, eth.ReceiptsMsg, []any{id, true, [][]eth.Receipt{{{PostStateOrStatus: []byte{1}, Logs: []byte{0xc0}}}}})
	}
	wantProtocolError(t, <-result, KindExcess)
}

// TestResponseIDs: a response counts once, for the requested message. A late one is dropped and
// is no protocol error.
func TestResponseIDs(t *testing.T) {
	chain := newTestChain(t)
	empty := func(id uint64) any { return []any{id, []uint{}} }

	t.Run("duplicate", func(t *testing.T) {
		h := newRawPeer(t, 71, chain, PeerConfig{NetworkID: 7, Chain: chain})
		result := make(chan error, 1)
		go func() { _, err := h.peer.Headers(testContext(t), common.Hash{}, 1, true); result <- err }()
		id := readRequest(t, h.eth, eth.GetBlockHeadersMsg)
		send(h.eth, eth.BlockHeadersMsg, empty(id))
		if err := <-result; err != nil {
			t.Fatal(err)
		}
		send(h.eth, eth.BlockHeadersMsg, empty(id))
		wantProtocolError(t, <-h.over, KindUnrequested)
	})
	t.Run("other message", func(t *testing.T) {
		h := newRawPeer(t, 71, chain, PeerConfig{NetworkID: 7, Chain: chain})
		go func() { _, _ = h.peer.Headers(testContext(t), common.Hash{}, 1, true) }()
		id := readRequest(t, h.eth, eth.GetBlockHeadersMsg)
		send(h.eth, eth.BlockBodiesMsg, empty(id))
		wantProtocolError(t, <-h.over, KindUnrequested)
	})
	t.Run("late", func(t *testing.T) {
		h := newRawPeer(t, 71, chain, PeerConfig{NetworkID: 7, Chain: chain})
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() { _, err := h.peer.Headers(ctx, common.Hash{}, 1, true); result <- err }()
		id := readRequest(t, h.eth, eth.GetBlockHeadersMsg)
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		send(h.eth, eth.BlockHeadersMsg, []any{id, "not even decoded"})

		go func() { _, err := h.peer.Headers(t.Context(), common.Hash{}, 1, true); result <- err }()
		send(h.eth, eth.BlockHeadersMsg, empty(readRequest(t, h.eth, eth.GetBlockHeadersMsg)))
		if err := <-result; err != nil {
			t.Fatalf("request after a late response: %v", err)
		}
		send(h.eth, eth.BlockHeadersMsg, empty(id)) // the second late one
		wantProtocolError(t, <-h.over, KindUnrequested)
	})
}

// TestManyInFlight: responses in any order find their requests.
func TestManyInFlight(t *testing.T) {
	chain := newTestChain(t)
	h := newRawPeer(t, 71, chain, PeerConfig{NetworkID: 7, Chain: chain})
	const n = 50
	result := make(chan error, n)
	ids := make(map[uint64]bool)
	for range n {
		go func() { _, err := h.peer.ByteCodes(testContext(t), []common.Hash{{}}, 1); result <- err }()
	}
	for range n {
		ids[readRequest(t, h.snap, snap.GetByteCodesMsg)] = true
	}
	equal(t, "distinct ids", len(ids), n)
	for id := range ids {
		send(h.snap, snap.ByteCodesMsg, []any{id, []string{"code"}})
	}
	for range n {
		if err := <-result; err != nil {
			t.Fatal(err)
		}
	}
}

// slowState blocks until it is released.
type slowState struct {
	testChain
	release chan struct{}
}

func (s slowState) State(common.Hash) State { <-s.release; return nil }

// TestFlood: the reader never waits for the serving goroutine. If the queue is full, a request
// ends the connection and gossip is dropped.
func TestFlood(t *testing.T) {
	chain := newTestChain(t)
	slow := slowState{chain, make(chan struct{})}
	cfg := PeerConfig{NetworkID: 7, Chain: chain, State: slow}
	request := []any{uint64(1), common.Hash{}, []snap.TrieNodePathSet{{{0}}}, uint64(1)}

	h := newRawPeer(t, 71, chain, cfg)
	defer close(slow.release) // before the cleanups
	send(h.snap, snap.GetTrieNodesMsg, request)
	for range 2 * maxQueued {
		if err := gethp2p.Send(h.eth, eth.TransactionsMsg, []uint{}); err != nil {
			t.Fatal(err)
		}
	}
	result := make(chan error, 1)
	go func() { _, err := h.peer.Headers(testContext(t), common.Hash{}, 1, true); result <- err }()
	send(h.eth, eth.BlockHeadersMsg, []any{readRequest(t, h.eth, eth.GetBlockHeadersMsg), []uint{}})
	if err := <-result; err != nil {
		t.Fatalf("our request while the peer floods: %v", err)
	}
	for range maxQueued/2 - 1 { // gossip leaves queue space for requests
		if err := gethp2p.Send(h.snap, snap.GetTrieNodesMsg, request); err != nil {
			t.Fatalf("a request after much gossip: %v", err)
		}
	}
	if h.peer.isDone() {
		t.Fatalf("gossip ended the connection: %v", h.peer.err)
	}
	for range 2 * maxQueued { // the queue is full
		send(h.snap, snap.GetTrieNodesMsg, request)
	}
	<-h.peer.Done()
	wantProtocolError(t, h.peer.err, KindFlood)

	// By bytes.
	h = newRawPeer(t, 71, chain, cfg)
	big := []any{uint64(1), common.Hash{}, []snap.TrieNodePathSet{{make([]byte, maxIncoming-100)}}, uint64(1)}
	for range 4 {
		send(h.snap, snap.GetTrieNodesMsg, big)
	}
	<-h.peer.Done()
	wantProtocolError(t, h.peer.err, KindFlood)
}

// TestPeerCloses: requests in flight and later ones fail when the other end closes.
func TestPeerCloses(t *testing.T) {
	chain := newTestChain(t)
	left := make(chan struct{})
	h := newRawPeer(t, 71, chain, PeerConfig{NetworkID: 7, Chain: chain, OnLeave: func(*Peer) { close(left) }})
	result := make(chan error, 1)
	go func() { _, err := h.peer.Headers(testContext(t), common.Hash{}, 1, true); result <- err }()
	readRequest(t, h.eth, eth.GetBlockHeadersMsg)
	h.eth.Close()
	if err := <-result; !errors.Is(err, ErrPeerGone) {
		t.Fatalf("in flight: %v", err)
	}
	<-left
	if err := <-h.over; !errors.Is(err, ErrPeerGone) {
		t.Fatalf("Run: %v", err)
	}
	if _, err := h.peer.TrieNodes(testContext(t), common.Hash{}, [][][]byte{{{0}}}, 1); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("afterwards: %v", err)
	}
}

// TestWriteHonoursContext: a caller that waits to write gives up with its context, and leaves no
// request in flight.
func TestWriteHonoursContext(t *testing.T) {
	chain := newTestChain(t)
	synctest.Test(t, func(t *testing.T) {
		h := newRawPeer(t, 71, chain, PeerConfig{NetworkID: 7, Chain: chain})
		go func() { _, _ = h.peer.Headers(t.Context(), common.Hash{}, 1, true) }() // the test does not read it
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := h.peer.Bodies(ctx, headersUsing(0)); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
		equal(t, "time", time.Since(start), time.Second)
		equal(t, "requests in flight", len(h.peer.inFlight.open), 1)
		equal(t, "late requests", len(h.peer.inFlight.late), 0)
	})
}

func TestLatency(t *testing.T) {
	chain := newTestChain(t)
	synctest.Test(t, func(t *testing.T) {
		h := newRawPeer(t, 71, chain, PeerConfig{NetworkID: 7, Chain: chain})
		for _, step := range []struct{ took, average time.Duration }{
			{80 * time.Millisecond, 80 * time.Millisecond},
			{160 * time.Millisecond, 90 * time.Millisecond},
			{10 * time.Millisecond, 80 * time.Millisecond},
		} {
			result := make(chan error, 1)
			go func() { _, err := h.peer.Headers(t.Context(), common.Hash{}, 1, true); result <- err }()
			id := readRequest(t, h.eth, eth.GetBlockHeadersMsg)
			time.Sleep(step.took)
			send(h.eth, eth.BlockHeadersMsg, []any{id, []uint{}})
			if err := <-result; err != nil {
				t.Fatal(err)
			}
			equal(t, "latency", h.peer.Latency(), step.average)
		}
	})
}

func TestLateIsBounded(t *testing.T) {
	var f pendingRequests
	first, _ := f.add(msgTrieNodes, maxMessageSize)
	f.abandon(first)
	for range maxLate {
		id, _ := f.add(msgTrieNodes, maxMessageSize)
		f.abandon(id)
	}
	equal(t, "remembered", len(f.late), maxLate)
	if f.deliver(first, msgTrieNodes, nil) {
		t.Error("the oldest was remembered")
	}
}
