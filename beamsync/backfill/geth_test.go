// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/beamsync/backfill"
	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/p2p"
)

// TestBackfill collects states from go-ethereum's own handlers over a pipe.
func TestBackfill(t *testing.T) {
	t.Parallel()
	o := newOracle(t)
	tests := map[string]func(t *testing.T, o oracle){
		"honest": honest, "killed": killed, "head moves": headMoves, "short": short, "no ranges": noRanges,
	}
	for name, change := range tamperings {
		if !testing.Short() || slices.Contains(shortTamperings, name) {
			tests[name] = func(t *testing.T, o oracle) { tampered(t, o, change) }
		}
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, o)
		})
	}
}

func honest(t *testing.T, o oracle) {
	target := o.target(oracleBlocks)
	n := startNode(t, t.TempDir(), staysAt(target), o.connect(t, "a"), o.connect(t, "b"))
	p := n.complete(target.Root)
	if p.Accounts < oracleAccounts || p.Slots < oracleSlots || p.Share < 0.999999 || p.Restarts != 0 {
		t.Errorf("progress %+v", p)
	}
	if len(n.blames) > 0 {
		t.Errorf("an honest peer was blamed: %s", <-n.blames)
	}
}

// gatedPeer lets a number of range requests through. The others wait for their deadline.
type gatedPeer struct {
	*p2p.Peer
	left atomic.Int64
}

func (g *gatedPeer) pass(ctx context.Context) error {
	if g.left.Add(-1) >= 0 {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (g *gatedPeer) AccountLeaves(ctx context.Context, root, origin, limit common.Hash, maxBytes uint64) ([]common.Hash, [][]byte, [][]byte, error) {
	if err := g.pass(ctx); err != nil {
		return nil, nil, nil, err
	}
	return g.Peer.AccountLeaves(ctx, root, origin, limit, maxBytes)
}

func (g *gatedPeer) StorageLeaves(ctx context.Context, root common.Hash, accounts []common.Hash, origin, limit common.Hash, maxBytes uint64) ([][]common.Hash, [][][]byte, [][]byte, error) {
	if err := g.pass(ctx); err != nil {
		return nil, nil, nil, err
	}
	return g.Peer.StorageLeaves(ctx, root, accounts, origin, limit, maxBytes)
}

// killed: a node that is stopped during the walk several times, each time with another target, keeps what is complete.
func killed(t *testing.T, o oracle) {
	dir := t.TempDir()
	var slots uint64
	for life := range 4 {
		peer := &gatedPeer{Peer: o.connect(t, "a")}
		peer.left.Store(int64(2 + 2*life))
		n := startNode(t, dir, staysAt(o.target(uint64(100+2*life))), peer)
		for deadline := time.Now().Add(10 * time.Second); peer.left.Load() > 0 && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
		n.stop()
		slots += n.backfill.Progress().Slots
	}
	target := o.target(oracleBlocks)
	n := startNode(t, dir, staysAt(target), o.connect(t, "a"))
	p := n.complete(target.Root)
	t.Logf("%d slots before the last kill, %d after", slots, p.Slots)
}

// headMoves: the walk restarts when a new scan begins, and completes the newer state.
func headMoves(t *testing.T, o oracle) {
	var number atomic.Uint64
	number.Store(100)
	peer := &gatedPeer{Peer: o.connect(t, "a")}
	peer.left.Store(4)
	n := startNode(t, t.TempDir(), func() (backfill.Target, bool) { return o.target(number.Load()), number.Load() > 0 }, peer)
	for deadline := time.Now().Add(10 * time.Second); peer.left.Load() >= 0 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	number.Store(108)
	peer.left.Store(1 << 30)
	p := n.complete(o.target(108).Root)
	if p.Restarts != 1 || p.Number != 108 {
		t.Errorf("progress %+v", p)
	}
}

// tamperingPeer changes its responses.
type tamperingPeer struct {
	*p2p.Peer
	change func(*ranges)
}

// ranges is the response to a range request: one list of accounts, or several lists of slots.
type ranges struct {
	accounts bool
	keys     [][]common.Hash
	values   [][][]byte
	proof    [][]byte
}

// some changes every list of more than a few leaves.
func some(change func(keys *[]common.Hash, values *[][]byte)) func(*ranges) {
	return func(r *ranges) {
		for i := range r.keys {
			if len(r.keys[i]) > 8 {
				change(&r.keys[i], &r.values[i])
			}
		}
	}
}

// shortTamperings are those of short tests. Package trie tests all of them without a network.
var shortTamperings = []string{"one left out", "one before the origin", "cut without a proof"}

// tamperings make a response invalid. What proves nothing is in TestStorageCutWithoutProof.
var tamperings = map[string]func(*ranges){
	"one left out": some(func(keys *[]common.Hash, values *[][]byte) {
		i := len(*keys) / 2
		*keys, *values = slices.Delete(*keys, i, i+1), slices.Delete(*values, i, i+1)
	}),
	"wrong order": some(func(keys *[]common.Hash, _ *[][]byte) { (*keys)[0], (*keys)[1] = (*keys)[1], (*keys)[0] }),
	"one too many": some(func(keys *[]common.Hash, values *[][]byte) {
		key := (*keys)[0]
		key[31]++
		*keys, *values = slices.Insert(*keys, 1, key), slices.Insert(*values, 1, (*values)[0])
	}),
	"one before the origin": some(func(keys *[]common.Hash, values *[][]byte) {
		*keys, *values = slices.Insert(*keys, 0, common.Hash{}), slices.Insert(*values, 0, (*values)[0])
	}),
	"another value": some(func(_ *[]common.Hash, values *[][]byte) { (*values)[0] = (*values)[1] }),
	"cut without a proof": func(r *ranges) {
		if n := len(r.keys); n > 0 && len(r.keys[n-1]) > 8 {
			r.keys[n-1], r.values[n-1], r.proof = r.keys[n-1][:1], r.values[n-1][:1], nil
		}
	},
}

func (p *tamperingPeer) AccountLeaves(ctx context.Context, root, origin, limit common.Hash, maxBytes uint64) ([]common.Hash, [][]byte, [][]byte, error) {
	keys, values, proof, err := p.Peer.AccountLeaves(ctx, root, origin, limit, maxBytes)
	if err != nil {
		return nil, nil, nil, err
	}
	r := ranges{accounts: true, keys: [][]common.Hash{keys}, values: [][][]byte{values}, proof: proof}
	p.change(&r)
	return r.keys[0], r.values[0], r.proof, nil
}

func (p *tamperingPeer) StorageLeaves(ctx context.Context, root common.Hash, accounts []common.Hash, origin, limit common.Hash, maxBytes uint64) ([][]common.Hash, [][][]byte, [][]byte, error) {
	keys, values, proof, err := p.Peer.StorageLeaves(ctx, root, accounts, origin, limit, maxBytes)
	if err != nil {
		return nil, nil, nil, err
	}
	r := ranges{keys: keys, values: values, proof: proof}
	p.change(&r)
	return r.keys, r.values, r.proof, nil
}

// short: a response that ends exactly at the end of a subtree, with the proof of another end, is valid
// as far as it goes.
func short(t *testing.T, o oracle) {
	target := o.target(oracleBlocks)
	n := startNode(t, t.TempDir(), staysAt(target), &tamperingPeer{o.connect(t, "a"), func(r *ranges) {
		n := len(r.keys)
		if len(r.proof) == 0 || n == 0 || len(r.keys[n-1]) < 64 { // without a proof it would be a whole trie
			return
		}
		keys := r.keys[n-1]
		for end := len(keys) / 2; end > 0; end-- {
			if keys[end-1][0]>>4 != keys[end][0]>>4 || end < len(keys)/3 && keys[end-1][1] != keys[end][1] {
				r.keys[n-1], r.values[n-1] = keys[:end], r.values[n-1][:end]
				return
			}
		}
	}})
	n.complete(target.Root)
}

// tampered: a peer that sends invalid data is blamed once and not asked again, by the fetcher either and also if
// it reconnects, and the state is right.
func tampered(t *testing.T, o oracle, change func(*ranges)) {
	target := o.target(oracleBlocks)
	bad := &tamperingPeer{o.connect(t, "invalid"), change}
	n := startNode(t, t.TempDir(), staysAt(target), bad, o.connect(t, "b"))
	n.complete(target.Root)
	for range 2 {
		if got := n.fetcher.OldBlockPeers(0); got != 1 || !n.book.Banned("invalid") {
			t.Errorf("the fetcher has %d peers, want the one that is not banned", got)
		}
		n.fetcher.Leave("invalid")
		n.fetcher.Join(bad)
		n.backfill.Join(bad)
	}
	if len(n.blames) != 1 || <-n.blames != "invalid "+peer.BlameInvalid.String() {
		t.Error("the peer that sent invalid data was not blamed, or another one was")
	}
}

// emptyRangePeer answers range requests with empty responses.
type emptyRangePeer struct{ *p2p.Peer }

func (emptyRangePeer) AccountLeaves(context.Context, common.Hash, common.Hash, common.Hash, uint64) ([]common.Hash, [][]byte, [][]byte, error) {
	return nil, nil, nil, nil
}

func (emptyRangePeer) StorageLeaves(context.Context, common.Hash, []common.Hash, common.Hash, common.Hash, uint64) ([][]common.Hash, [][][]byte, [][]byte, error) {
	return nil, nil, nil, nil
}

// noRanges: the walk goes node by node if the peer serves no ranges.
func noRanges(t *testing.T, o oracle) {
	target := o.target(oracleBlocks)
	n := startNode(t, t.TempDir(), staysAt(target), emptyRangePeer{o.connect(t, "a")})
	n.complete(target.Root)
}
