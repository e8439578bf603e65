// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch

import (
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	gethtrie "github.com/ethereum/go-ethereum/trie"

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
)

// ranged is a peer that announces from which block on it has bodies and receipts (eth/69,
// EIP-7642). One that does not is taken to have all.
type ranged interface {
	Earliest() uint64
}

func servesBlock(p peer.Peer, number uint64) bool {
	r, ok := p.(ranged)
	return !ok || r.Earliest() <= number
}

// OldBlockPeers counts the peers that announce to have bodies and receipts of a block.
func (f *Fetcher) OldBlockPeers(number uint64) int {
	return f.peers.count(func(p peer.Peer) bool { return servesBlock(p, number) })
}

// OldBodies gets the bodies of old blocks, given by their headers, newest first: those that
// one answer held, and those that follow from the headers alone; the others are nil. They are
// verified as by [Fetcher.Bodies]. It asks peers that announce to have the blocks, leaves the
// fastest one to others if it can, and tries until it has something or ctx ends.
func (f *Fetcher) OldBodies(ctx context.Context, headers []*types.Header) ([]*types.Body, error) {
	nothing := contentOfBody(new(types.Body))
	return queryOld(ctx, f, oldKind[*types.Body]{
		kind: peer.KindBodies,
		known: func(h *types.Header) (*types.Body, bool) {
			return new(types.Body), contentOf(h) == nothing
		},
		ask: func(ctx context.Context, p peer.Peer, headers []*types.Header) ([]*types.Body, error) {
			return p.Bodies(ctx, headers)
		},
		match: matchBodies,
	}, headers)
}

// OldReceipts is [Fetcher.OldBodies] for receipts. They are verified by the roots in the
// headers, with blooms computed anew. No receipts are an empty list, which is not nil.
func (f *Fetcher) OldReceipts(ctx context.Context, headers []*types.Header) ([]types.Receipts, error) {
	return queryOld(ctx, f, oldKind[types.Receipts]{
		kind: peer.KindReceipts,
		known: func(h *types.Header) (types.Receipts, bool) {
			return types.Receipts{}, h.ReceiptHash == types.EmptyReceiptsHash
		},
		ask: func(ctx context.Context, p peer.Peer, headers []*types.Header) ([]types.Receipts, error) {
			return p.Receipts(ctx, headers)
		},
		match: matchReceipts,
	}, headers)
}

// matchReceipts finds for each list of receipts the header, among those at the wanted
// indices, that commits to it. Equal lists of two blocks are interchangeable.
func matchReceipts(headers []*types.Header, wanted []int, lists []types.Receipts) (map[int]types.Receipts, error) {
	if len(lists) == 0 {
		return nil, errEmpty
	}
	if len(lists) > len(wanted) {
		return nil, fmt.Errorf("%w: receipts of %d blocks, %d asked for", errInvalid, len(lists), len(wanted))
	}
	open := make(map[common.Hash][]int)
	for _, at := range wanted {
		root := headers[at].ReceiptHash
		open[root] = append(open[root], at)
	}
	matched := make(map[int]types.Receipts)
	for i, list := range lists {
		for _, receipt := range list {
			receipt.Bloom = types.CreateBloom(receipt)
		}
		root := types.DeriveSha(list, gethtrie.NewListHasher())
		if len(open[root]) == 0 {
			return nil, fmt.Errorf("%w: receipts %d belong to no block asked for", errInvalid, i)
		}
		matched[open[root][0]] = list
		open[root] = open[root][1:]
	}
	return matched, nil
}

// oldKind is one kind of content of old blocks.
type oldKind[T any] struct {
	kind  string
	known func(*types.Header) (T, bool) // what follows from a header alone
	ask   func(context.Context, peer.Peer, []*types.Header) ([]T, error)
	match func(headers []*types.Header, wanted []int, got []T) (map[int]T, error)
}

// queryOld gets what one answer holds. A peer is asked for what it announces to have; one that
// runs into the deadline, for half as much the next time.
func queryOld[T any](ctx context.Context, f *Fetcher, what oldKind[T], headers []*types.Header) ([]T, error) {
	found := make([]T, len(headers))
	var missing []int
	for i, h := range headers {
		if value, ok := what.known(h); ok {
			found[i] = value
		} else {
			missing = append(missing, i)
		}
	}
	if len(missing) == 0 {
		return found, nil
	}
	wanted := missing
	q := newQuery(f, what.kind, func(ctx context.Context, p peer.Peer) (map[int]T, error) {
		var asked []*types.Header
		for _, at := range wanted {
			if !servesBlock(p, headers[at].Number.Uint64()) {
				break // nor any below
			}
			asked = append(asked, headers[at])
		}
		wanted := wanted[:len(asked)]
		got, err := what.ask(ctx, p, asked)
		if err != nil {
			return nil, err
		}
		return what.match(headers, wanted, got)
	})
	newest := headers[missing[0]].Number.Uint64()
	q.eligible = func(p peer.Peer) bool { return servesBlock(p, newest) }
	q.onFailure = func(err error) {
		if errors.Is(err, context.DeadlineExceeded) {
			wanted = wanted[:max(1, len(wanted)/2)]
		}
	}
	got, err := q.await(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s of old blocks: %w", what.kind, err)
	}
	for at, value := range got {
		found[at] = value
	}
	return found, nil
}
