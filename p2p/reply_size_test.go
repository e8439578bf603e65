// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/rlp"
)

// countingReader counts what is read.
type countingReader struct {
	io.Reader
	n int
}

func (r *countingReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	r.n += n
	return n, err
}

// endless reads as zeros.
type endless struct{}

func (endless) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// bigReply is a reply to a request with one blob, of that many bytes in all.
func bigReply(id uint64, size int) []byte {
	head := rlp.AppendUint64(nil, id)
	blob := make([]byte, size-len(head)-3*5)
	enc, err := rlp.EncodeToBytes([]any{id, [][]byte{blob}})
	if err != nil {
		panic(err)
	}
	return enc
}

// TestBigReplies: of replies that are larger than what was asked for and one item more, however many peers send them, nothing but
// the request id is read, and the connections end with a proof.
func TestBigReplies(t *testing.T) {
	const peers, size, end = 20, 9_900_000, 9_900_000 - 4
	chain := newTestChain(t)
	for m := range message(messageCount) {
		if messages[m].role != roleResponse {
			continue
		}
		version := uint(eth.ETH72)
		if m == msgNodeData {
			version = eth66
		}
		budget, read := NewBudget(maxReplyBytes), 0
		for range peers {
			var p *Peer
			stream := answering{func(id uint64) {
				head := append([]byte{0xf7 + 3, byte(end >> 16), byte(end >> 8 & 0xff), byte(end & 0xff)}, rlp.AppendUint64(nil, id)...)
				counter := &countingReader{Reader: io.MultiReader(bytes.NewReader(head), endless{})} // a list of end bytes
				_ = p.receive(messages[m].protocol, gethp2p.Msg{Code: messages[m].code, Size: size, Payload: counter})
				read += counter.n
			}}
			p = NewPeer(Link{ID: "p", Version: version, Eth: stream, Snap: stream, Wit: stream, Beam: stream}, PeerConfig{Chain: chain, Budget: budget})
			if err := askFor(t.Context(), p, m); !errors.Is(err, ErrPeerGone) {
				t.Fatalf("%s: %v", m, err)
			}
			if detail, ok := p.Oversized(); !ok {
				t.Errorf("%s: the connection ended without a proof: %s", m, detail)
			}
		}
		if read > peers*maxHead {
			t.Errorf("%s: %d bytes were read", m, read)
		}
		if budget.used != 0 {
			t.Errorf("%s: %d bytes remain reserved", m, budget.used)
		}
	}
}

// TestLateReplies: a reply that nobody waits for any longer is dropped without memory for it, and is no violation.
func TestLateReplies(t *testing.T) {
	var p *Peer
	ctx, cancel := context.WithCancel(t.Context())
	var late uint64
	p = NewPeer(Link{ID: "p", Version: eth.ETH71, Snap: answering{func(id uint64) {
		late = id
		cancel()
	}}}, PeerConfig{})
	if err := askFor(ctx, p, msgByteCodes); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	payload := bigReply(late, 20_000)
	reply := gethp2p.Msg{Code: messages[msgByteCodes].code, Size: uint32(len(payload)), Payload: bytes.NewReader(payload)}
	if err := p.receive(protoSnap, reply); err != nil || p.isDone() {
		t.Fatal(err)
	}
	if err := p.receive(protoSnap, reply); err == nil {
		t.Error("a second reply was accepted")
	}
	if _, ok := p.Oversized(); ok {
		t.Error("a second reply counts as an oversized one")
	}
}

// TestBigItems: a reply of the right size with an item that is larger than any of its kind is a violation.
func TestBigItems(t *testing.T) {
	for m, limit := range map[message]int{msgTrieNodes: maxNodeSize, msgByteCodes: maxCodeSize, msgBeamNodeData: maxCodeSize} {
		for _, size := range []int{limit, limit + 1} {
			var p *Peer
			stream := answering{func(id uint64) {
				payload, err := rlp.EncodeToBytes([]any{id, [][]byte{make([]byte, size)}})
				if err != nil {
					panic(err)
				}
				if err := p.receive(messages[m].protocol, gethp2p.Msg{Code: messages[m].code, Size: uint32(len(payload)), Payload: bytes.NewReader(payload)}); err != nil {
					t.Error(err)
				}
			}}
			p = NewPeer(Link{ID: "p", Version: eth.ETH71, Snap: stream, Beam: stream}, PeerConfig{})
			err := askFor(t.Context(), p, m)
			if size == limit && err != nil {
				t.Errorf("%s of %d bytes: %v", m, size, err)
			}
			if size > limit {
				wantProtocolError(t, err, KindOversize)
			}
		}
	}
}

// TestReplySize: a reply may have all that was asked for, and one item beyond the soft limit.
func TestReplySize(t *testing.T) {
	for _, test := range []struct {
		count, item int
		maxBytes    uint64
		least, most int
	}{
		{1, maxNodeSize, softReplySize, maxNodeSize, maxNodeSize + 100},
		{1024, maxNodeSize, softReplySize, 1024 * 532, 700_000},
		{1024, maxCodeSize, softReplySize, softReplySize + maxCodeSize, softReplySize + maxCodeSize + 5000},
		{96, maxCodeSize, 512 << 10, 512<<10 + maxCodeSize, 512<<10 + maxCodeSize + 1000},
		{1 << 40, maxHeaderSize, softReplySize, softReplySize, maxMessageSize},
	} {
		if got := replySize(test.count, test.item, test.maxBytes); got < test.least || got > test.most {
			t.Errorf("%d items of %d bytes, %d in all: %d", test.count, test.item, test.maxBytes, got)
		}
	}
	if got := leavesSize(512, 512<<10); got < 640<<10 || got > 1<<20 {
		t.Errorf("%d bytes of leaves", got)
	}
}

// TestBudget: requests wait for room in the order in which they came, urgent ones first, and not beyond their context.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(100)
		var order []string
		take := func(name string, size int, urgent bool) {
			go func() {
				if b.reserve(t.Context(), size, urgent) == nil {
					order = append(order, name)
				}
			}()
			synctest.Wait()
		}
		take("first", 50, false)
		take("waits", 10, false) // half is for all
		take("urgent", 40, true)
		take("urgent, too", 20, true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.reserve(ctx, 10, true); !errors.Is(err, ErrBusy) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("no room: %v", err)
		}
		equal(t, "requests", len(order), 2)
		b.release(50)
		synctest.Wait()
		b.release(40)
		synctest.Wait()
		equal(t, "requests", len(order), 4)
		for i, name := range []string{"first", "urgent", "urgent, too", "waits"} {
			equal(t, "request", order[i], name)
		}
		b.release(20)
		b.release(10)
		equal(t, "bytes", b.used, 0)
		take("larger than all", 500, false)
		equal(t, "requests", len(order), 5)
		b.release(500)
	})
}
