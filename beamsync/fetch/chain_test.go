// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	gethtrie "github.com/ethereum/go-ethereum/trie"

	"github.com/sunbeam-eth/sunbeam/beamsync/fetch"
	"github.com/sunbeam-eth/sunbeam/beamsync/internal/beamtest"
	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// testChain is a chain of linked blocks, genesis first: every third one is empty, all
// after the tenth may have withdrawals, and have access lists.
func testChain(n int) ([]*types.Block, map[common.Hash]rlp.RawValue) {
	var blocks []*types.Block
	lists := make(map[common.Hash]rlp.RawValue)
	parent := common.Hash{}
	for i := range n {
		body := &types.Body{}
		header := &types.Header{Number: big.NewInt(int64(i)), ParentHash: parent, Difficulty: new(big.Int), Time: uint64(i)}
		if i%3 != 0 {
			for nonce := range uint64(i%4 + 1) {
				body.Transactions = append(body.Transactions, types.NewTx(&types.LegacyTx{
					Nonce: nonce, Gas: uint64(i), GasPrice: big.NewInt(1), Value: new(big.Int), V: big.NewInt(27), R: big.NewInt(1), S: big.NewInt(1),
				}))
			}
		}
		var list rlp.RawValue
		if i > 10 {
			body.Withdrawals = []*types.Withdrawal{}
			if i%2 == 0 {
				body.Withdrawals = append(body.Withdrawals, &types.Withdrawal{Index: uint64(i), Amount: 1})
			}
			list, _ = rlp.EncodeToBytes([]uint64{uint64(i)})
			hash := crypto.Keccak256Hash(list)
			header.BlockAccessListHash = &hash
			header.BaseFee, header.BlobGasUsed, header.ExcessBlobGas = new(big.Int), new(uint64), new(uint64)
			header.ParentBeaconRoot, header.RequestsHash = new(common.Hash), new(common.Hash)
			header.SlotNumber = new(uint64)
		}
		block := types.NewBlock(header, body, nil, gethtrie.NewListHasher())
		lists[block.Hash()] = list
		blocks = append(blocks, block)
		parent = block.Hash()
	}
	return blocks, lists
}

func headersOf(blocks []*types.Block) (headers []*types.Header) {
	for _, b := range blocks {
		headers = append(headers, b.Header())
	}
	return headers
}

func TestHeadersDownToGenesis(t *testing.T) {
	blocks, lists := testChain(1200)
	beamtest.InBubble(t, func(r *beamtest.Rig) {
		r.Connect(beamtest.ChainPeerOf("a", beamtest.Serve(blocks, lists)))
		r.Took(3*beamtest.RTT, func() { // 512 a request; the genesis ends it
			headers, err := r.Headers(r.Ctx, blocks[1199].Hash(), 5000)
			if err != nil || len(headers) != 1200 {
				t.Fatal(len(headers), err)
			}
			for i, h := range headers {
				if h.Hash() != blocks[1199-i].Hash() {
					t.Fatalf("header %d is wrong", i)
				}
			}
		})
		headers, err := r.Headers(r.Ctx, blocks[700].Hash(), 3)
		if err != nil || len(headers) != 3 || headers[2].Number.Uint64() != 698 {
			t.Fatal(len(headers), err)
		}
	})
}

func TestHeadersFromBadPeers(t *testing.T) {
	blocks, lists := testChain(20)
	head := blocks[19].Hash()
	for name, reply := range map[string]func([]*types.Header) []*types.Header{
		"other origin": func(h []*types.Header) []*types.Header { return h[1:] },
		"gap":          func(h []*types.Header) []*types.Header { return slices.Delete(h, 3, 4) },
		"changed": func(h []*types.Header) []*types.Header {
			h[5] = types.CopyHeader(h[5])
			h[5].GasUsed++
			return h
		},
		"too many": func(h []*types.Header) []*types.Header { return append(h, blocks[0].Header()) },
	} {
		t.Run(name, func(t *testing.T) {
			beamtest.InBubble(t, func(r *beamtest.Rig) {
				honest := beamtest.Serve(blocks, lists)
				invalid := *honest
				invalid.Headers = func(origin common.Hash, amount int) []*types.Header { return reply(honest.Headers(origin, amount)) }
				r.Connect(beamtest.ChainPeerOf("invalid", &invalid), slowChainPeer("honest", honest)) // both are asked at once
				headers, err := r.Headers(r.Ctx, head, 10)
				if err != nil || len(headers) != 10 || headers[9].Hash() != blocks[10].Hash() {
					t.Fatal(len(headers), err)
				}
				if got := r.Blames.All(); !slices.Equal(got, []string{"invalid:invalid"}) {
					t.Error("blames", got)
				}
			})
		})
	}
}

// TestHeadersWaitForWhoHasThem: a peer that does not know the origin yet is asked again.
func TestHeadersWaitForWhoHasThem(t *testing.T) {
	blocks, lists := testChain(20)
	beamtest.InBubble(t, func(r *beamtest.Rig) {
		began, late := time.Now(), beamtest.Serve(blocks, lists)
		all := late.Headers
		late.Headers = func(origin common.Hash, amount int) []*types.Header {
			if time.Since(began) < 3*time.Second {
				return nil
			}
			return all(origin, amount)
		}
		peer := beamtest.ChainPeerOf("a", late)
		r.Connect(peer)
		if _, err := r.Headers(r.Ctx, blocks[5].Hash(), 2); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(r.Ctx, time.Minute)
		defer cancel()
		r.Took(time.Minute, func() {
			if _, err := r.Headers(ctx, common.Hash{1}, 2); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
		if peer.Asked > 30 {
			t.Errorf("%d requests: no back-off", peer.Asked)
		}
	})
}

// slowChainPeer answers too late to win a race.
func slowChainPeer(id string, chain *beamtest.FakeChain) *beamtest.FakePeer {
	p := beamtest.ChainPeerOf(id, chain)
	p.Rtt = 2 * beamtest.RTT
	return p
}

// TestSlowChainPeersAreHedged: a peer that was quick and is not any longer is hedged soon, and so is
// the second one that is slow.
func TestSlowChainPeersAreHedged(t *testing.T) {
	blocks, lists := testChain(20)
	beamtest.InBubble(t, func(r *beamtest.Rig) {
		ask := func() {
			t.Helper()
			if _, err := r.Headers(r.Ctx, blocks[5].Hash(), 2); err != nil {
				t.Fatal(err)
			}
		}
		a, b := beamtest.ChainPeerOf("a", beamtest.Serve(blocks, lists)), beamtest.ChainPeerOf("b", beamtest.Serve(blocks, lists))
		a.Stall = func(n int) bool { return n > 0 }
		b.Stall = a.Stall
		r.Connect(a)
		r.Took(beamtest.RTT, ask)
		r.Connect(b)
		r.Took(3*beamtest.RTT+beamtest.RTT, ask) // a is three times later than usual
		r.Connect(beamtest.ChainPeerOf("c", beamtest.Serve(blocks, lists)))
		r.Took(3*beamtest.RTT+8*beamtest.RTT+beamtest.RTT, ask) // b is, and a is eight times later than b would be
	})
}

// TestChainRace: while nothing is known of any peer, several are asked at once; later queries
// know which were useful.
func TestChainRace(t *testing.T) {
	blocks, lists := testChain(20)
	beamtest.InBubble(t, func(r *beamtest.Rig) {
		mute := beamtest.ChainPeerOf("a", beamtest.Serve(blocks, lists))
		mute.Stall = func(int) bool { return true }
		empty, good := beamtest.ChainPeerOf("b", new(beamtest.FakeChain)), beamtest.ChainPeerOf("c", beamtest.Serve(blocks, lists))
		empty.Chain.Headers = func(common.Hash, int) []*types.Header { return nil }
		r.Connect(mute, empty, good)
		for range 3 {
			r.Took(beamtest.RTT, func() {
				if _, err := r.Headers(r.Ctx, blocks[5].Hash(), 2); err != nil {
					t.Fatal(err)
				}
			})
		}
		if mute.Asked != 1 || empty.Asked != 1 || good.Asked != 3 {
			t.Errorf("asked %d, %d, %d times", mute.Asked, empty.Asked, good.Asked)
		}
	})
}

func TestBodies(t *testing.T) {
	blocks, lists := testChain(300)
	headers := headersOf(blocks)
	beamtest.InBubble(t, func(r *beamtest.Rig) {
		honest := beamtest.Serve(blocks, lists)
		skipper := *honest // lacks some in the middle, gives few at a time
		skipper.Bodies = func(hashes []common.Hash) []*types.Body {
			bodies := honest.Bodies(hashes)
			if len(bodies) > 10 {
				bodies = slices.Delete(bodies, 3, 5)[:10]
			}
			return bodies
		}
		r.Connect(beamtest.ChainPeerOf("a", &skipper))
		got, err := r.Bodies(r.Ctx, headers)
		if err != nil {
			t.Fatal(err)
		}
		for i, b := range got {
			want, _ := rlp.EncodeToBytes(blocks[i])
			have, _ := rlp.EncodeToBytes(b)
			if !bytes.Equal(want, have) {
				t.Fatalf("block %d differs", i)
			}
		}
		if got := r.Blames.All(); len(got) != 0 {
			t.Error("blames", got)
		}
	})
}

func TestEmptyBodiesNeedNoPeer(t *testing.T) {
	beamtest.InBubble(t, func(r *beamtest.Rig) {
		header := types.NewBlock(&types.Header{Number: big.NewInt(1)}, &types.Body{Withdrawals: []*types.Withdrawal{}}, nil, gethtrie.NewListHasher()).Header()
		blocks, err := r.Bodies(r.Ctx, []*types.Header{header})
		if err != nil || blocks[0].Withdrawals() == nil || blocks[0].Hash() != header.Hash() {
			t.Fatal(blocks, err)
		}
	})
}

func TestBodiesFromBadPeers(t *testing.T) {
	blocks, lists := testChain(30)
	for name, spoil := range map[string]func([]*types.Body) []*types.Body{
		"transaction dropped": func(b []*types.Body) []*types.Body { b[2].Transactions = b[2].Transactions[1:]; return b },
		"uncle added":         func(b []*types.Body) []*types.Body { b[2].Uncles = []*types.Header{{}}; return b },
		"withdrawal added": func(b []*types.Body) []*types.Body {
			b[len(b)-1].Withdrawals = append(b[len(b)-1].Withdrawals, &types.Withdrawal{})
			return b
		},
		"not asked for": func(b []*types.Body) []*types.Body { return append(b[1:], blocks[1].Body(), blocks[1].Body()) },
	} {
		t.Run(name, func(t *testing.T) {
			beamtest.InBubble(t, func(r *beamtest.Rig) {
				honest := beamtest.Serve(blocks, lists)
				invalid := *honest
				invalid.Bodies = func(hashes []common.Hash) []*types.Body { return spoil(honest.Bodies(hashes)) }
				r.Connect(beamtest.ChainPeerOf("invalid", &invalid), slowChainPeer("honest", honest)) // both are asked at once
				got, err := r.Bodies(r.Ctx, headersOf(blocks))
				if err != nil {
					t.Fatal(err)
				}
				for i, b := range got {
					if len(b.Transactions()) != len(blocks[i].Transactions()) || len(b.Withdrawals()) != len(blocks[i].Withdrawals()) {
						t.Fatalf("block %d is wrong", i)
					}
				}
				if got := r.Blames.All(); !slices.Equal(got, []string{"invalid:invalid"}) {
					t.Error("blames", got)
				}
			})
		})
	}
}

func TestAccessLists(t *testing.T) {
	blocks, lists := testChain(60)
	beamtest.InBubble(t, func(r *beamtest.Rig) {
		honest := beamtest.Serve(blocks, lists)
		half, invalid, old := *honest, *honest, *honest
		half.Lists = func(hashes []common.Hash) ([]rlp.RawValue, error) {
			found, _ := honest.Lists(hashes)
			for i := range found {
				if i%2 == 0 {
					found[i] = nil
				}
			}
			return found, nil
		}
		invalid.Lists = func(_ []common.Hash) ([]rlp.RawValue, error) { return []rlp.RawValue{{0xc0}}, nil }
		old.Lists = nil
		r.Connect(beamtest.ChainPeerOf("old", &old), beamtest.ChainPeerOf("half", &half), beamtest.ChainPeerOf("invalid", &invalid))
		got, err := r.AccessLists(r.Ctx, headersOf(blocks))
		if err != nil {
			t.Fatal(err)
		}
		some := 0
		for i, list := range got {
			if list != nil {
				some++
				if !bytes.Equal(list, lists[blocks[i].Hash()]) {
					t.Errorf("list %d is wrong", i)
				}
			}
		}
		if some == 0 || some > 49 {
			t.Errorf("%d lists", some)
		}
		r.Connect(beamtest.ChainPeerOf("all", honest))
		if got, err = r.AccessLists(r.Ctx, headersOf(blocks)); err != nil {
			t.Fatal(err)
		}
		for i, list := range got {
			if (list != nil) != (i > 10) {
				t.Errorf("list %d: %x", i, list)
			}
		}
		if got := r.Blames.All(); !slices.Equal(got, []string{"invalid:invalid"}) {
			t.Error("blames", got)
		}
	})
}

// TestWaitingIsVisible: an urgent want that waits is logged with the reason.
func TestWaitingIsVisible(t *testing.T) {
	beamtest.TheState()
	synctest.Test(t, func(t *testing.T) {
		var log beamtest.Buffer
		f := fetch.New(fetch.Config{Local: trie.NewCache(1<<20, nil), Log: slog.New(slog.NewTextHandler(&log, nil))})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			if err := f.Run(ctx); err != nil {
				t.Error(err)
			}
		}()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := f.Session(sched.Urgent).FetchNode(ctx, beamtest.RootFault(1)); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(10 * time.Second)
		if got := strings.Count(log.String(), `reason="no peers that serve state"`); got != 2 {
			t.Errorf("said %d times that there are no peers:\n%s", got, log.String())
		}
		empty := beamtest.NewFakePeer("a", beamtest.RTT)
		empty.Mangle = func(int, [][]byte) ([][]byte, error) { return nil, nil }
		f.Join(empty)
		time.Sleep(20 * time.Second)
		if !strings.Contains(log.String(), `reason="all peers answered empty under this state root"`) {
			t.Errorf("did not say that peers are empty:\n%s", log.String())
		}
		f.Join(beamtest.NewFakePeer("b", beamtest.RTT))
		wg.Wait()
		time.Sleep(2 * time.Second)
		if !strings.Contains(log.String(), "State requests are answered again") {
			t.Errorf("did not say that it is over:\n%s", log.String())
		}
		if _, err := f.Headers(deadline(ctx, t, 10*time.Second), common.Hash{1}, 1); err == nil {
			t.Error("no error")
		}
		if !strings.Contains(log.String(), "Waiting for chain data") {
			t.Errorf("did not say that headers are waited for:\n%s", log.String())
		}
	})
}

// TestManyWaitsAreOneLine: however many queries wait for the same kind of data, the log has one line every five seconds.
func TestManyWaitsAreOneLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log beamtest.Buffer
		f := fetch.New(fetch.Config{Local: trie.NewCache(1<<20, nil), Log: slog.New(slog.NewTextHandler(&log, nil))})
		ctx, cancel := context.WithTimeout(t.Context(), 21*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 30 * time.Millisecond)
				if _, err := f.Headers(ctx, common.Hash{byte(i), 1}, 1); err == nil {
					t.Error("headers that nobody has")
				}
			})
		}
		wg.Wait()
		if got := strings.Count(log.String(), "Waiting for chain data"); got < 3 || got > 5 {
			t.Errorf("%d lines in 21 s:\n%s", got, log.String())
		}
		if !strings.Contains(log.String(), "queries=100") {
			t.Errorf("did not say how many wait:\n%s", log.String())
		}
	})
}

func deadline(ctx context.Context, t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(ctx, d)
	t.Cleanup(cancel)
	return ctx
}
