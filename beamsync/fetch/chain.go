// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch

import (
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	gethtrie "github.com/ethereum/go-ethereum/trie"

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
)

// Headers fetches the header with the hash origin and its ancestors, newest first: amount
// of them, fewer only where the genesis ends the chain. Every header is linked by its hash
// to origin; nothing else about it is checked. It asks peers until it has them or ctx ends.
func (f *Fetcher) Headers(ctx context.Context, origin common.Hash, amount int) ([]*types.Header, error) {
	headers := make([]*types.Header, 0, min(max(amount, 0), peer.MaxHeaders))
	next := origin
	for len(headers) < amount {
		want := min(amount-len(headers), peer.MaxHeaders)
		part, err := queryChain(ctx, f, peer.KindHeaders, func(ctx context.Context, p peer.Peer) ([]*types.Header, error) {
			got, err := p.Headers(ctx, next, want, true)
			if err != nil {
				return nil, err
			}
			return got, linked(got, next, want)
		})
		if err != nil {
			return nil, fmt.Errorf("headers from %x down: %w", origin, err)
		}
		headers = append(headers, part...)
		last := part[len(part)-1]
		if last.Number.Sign() == 0 {
			break
		}
		next = last.ParentHash
	}
	for _, h := range headers {
		f.metrics.bytes.WithLabelValues(peer.KindHeaders).Add(float64(h.Size()))
	}
	return headers, nil
}

// linked verifies that headers lead from origin down.
func linked(headers []*types.Header, origin common.Hash, most int) error {
	if len(headers) == 0 {
		return errEmpty
	}
	if len(headers) > most {
		return fmt.Errorf("%w: %d headers, %d asked for", errInvalid, len(headers), most)
	}
	hash := origin
	for i, h := range headers {
		if got := h.Hash(); got != hash {
			return fmt.Errorf("%w: header %d has hash %x, not %x", errInvalid, i, got, hash)
		}
		hash = h.ParentHash
	}
	return nil
}

// Bodies fetches the bodies of headers and returns the blocks in the same order. Bodies
// are verified against the roots of transactions and withdrawals and the hash of uncles.
// It asks peers until it has them all or ctx ends.
func (f *Fetcher) Bodies(ctx context.Context, headers []*types.Header) ([]*types.Block, error) {
	blocks := make([]*types.Block, len(headers))
	var missing []int
	for i, h := range headers {
		if contentOf(h) == contentOfBody(new(types.Body)) {
			blocks[i] = peer.Assemble(h, new(types.Body))
		} else {
			missing = append(missing, i)
		}
	}
	for len(missing) > 0 {
		wanted := missing[:min(len(missing), peer.MaxBodies)]
		asked := make([]*types.Header, len(wanted))
		for i, at := range wanted {
			asked[i] = headers[at]
		}
		got, err := queryChain(ctx, f, peer.KindBodies, func(ctx context.Context, p peer.Peer) (map[int]*types.Body, error) {
			bodies, err := p.Bodies(ctx, asked)
			if err != nil {
				return nil, err
			}
			return matchBodies(headers, wanted, bodies)
		})
		if err != nil {
			return nil, fmt.Errorf("bodies of %d blocks: %w", len(headers), err)
		}
		var rest []int
		for _, at := range missing {
			body := got[at]
			if body == nil {
				rest = append(rest, at)
				continue
			}
			blocks[at] = peer.Assemble(headers[at], body)
			f.metrics.bytes.WithLabelValues(peer.KindBodies).Add(float64(blocks[at].Size()))
		}
		missing = rest
	}
	return blocks, nil
}

// content is what a header says of its body. No withdrawals and an empty list of them are
// the same here: only the header knows which it is.
type content struct {
	txs, uncles, withdrawals common.Hash
}

func contentOf(h *types.Header) content {
	c := content{h.TxHash, h.UncleHash, types.EmptyWithdrawalsHash}
	if h.WithdrawalsHash != nil {
		c.withdrawals = *h.WithdrawalsHash
	}
	return c
}

func contentOfBody(b *types.Body) content {
	return content{
		txs:         types.DeriveSha(types.Transactions(b.Transactions), gethtrie.NewListHasher()),
		uncles:      types.CalcUncleHash(b.Uncles),
		withdrawals: types.DeriveSha(types.Withdrawals(b.Withdrawals), gethtrie.NewListHasher()),
	}
}

// matchBodies finds for each body the header, among those at the wanted indices, that it
// belongs to. Bodies that the peer lacks may be missing anywhere: some servers skip them.
func matchBodies(headers []*types.Header, wanted []int, bodies []*types.Body) (map[int]*types.Body, error) {
	if len(bodies) == 0 {
		return nil, errEmpty
	}
	if len(bodies) > len(wanted) {
		return nil, fmt.Errorf("%w: %d bodies, %d asked for", errInvalid, len(bodies), len(wanted))
	}
	open := make(map[content][]int)
	for _, at := range wanted {
		c := contentOf(headers[at])
		open[c] = append(open[c], at)
	}
	matched := make(map[int]*types.Body)
	for i, b := range bodies {
		c := contentOfBody(b)
		if len(open[c]) == 0 {
			return nil, fmt.Errorf("%w: body %d belongs to no block asked for", errInvalid, i)
		}
		matched[open[c][0]] = b
		open[c] = open[c][1:]
	}
	return matched, nil
}

// AccessLists fetches the block access lists (EIP-7928, by eth/71) of headers: the RLP of
// each, verified by the hash in the header, nil where the header has none or no peer gave
// it. They are a help, not a need: a peer that did not give all of what it was asked for is not asked
// again, and it does not wait for more peers.
func (f *Fetcher) AccessLists(ctx context.Context, headers []*types.Header) ([]rlp.RawValue, error) {
	lists := make([]rlp.RawValue, len(headers))
	asked := make(map[string]*peer.Backoff)
	for {
		var (
			wanted []*types.Header
			open   = make(map[common.Hash][]int) // hash of the list -> who wants it
		)
		for i, h := range headers {
			if h.BlockAccessListHash != nil && lists[i] == nil && len(wanted) < peer.MaxAccessLists {
				wanted = append(wanted, h)
				open[*h.BlockAccessListHash] = append(open[*h.BlockAccessListHash], i)
			}
		}
		if len(wanted) == 0 {
			return lists, nil
		}
		q := newQuery(f, peer.KindAccessLists, func(ctx context.Context, p peer.Peer) (accessLists, error) {
			got, err := p.AccessLists(ctx, wanted)
			if err != nil {
				return accessLists{}, err
			}
			return accessLists{p.ID(), got}, belong(got, len(wanted), open)
		})
		q.noRetry, q.backoffs = true, asked
		answer, err := q.await(ctx)
		switch {
		case errors.Is(err, errEmpty):
			return lists, nil
		case err != nil:
			return nil, err
		}
		found := 0
		for _, list := range answer.lists {
			if len(list) == 0 {
				continue
			}
			found++
			f.metrics.bytes.WithLabelValues(peer.KindAccessLists).Add(float64(len(list)))
			for _, at := range open[crypto.Keccak256Hash(list)] {
				lists[at] = list
			}
		}
		if found < len(wanted) {
			asked[answer.peer] = new(peer.Backoff) // it may have more only if it gave all that we asked for
		}
	}
}

// accessLists is what a peer gave.
type accessLists struct {
	peer  string
	lists []rlp.RawValue
}

// belong verifies that lists are some of those asked for.
func belong(lists []rlp.RawValue, asked int, open map[common.Hash][]int) error {
	if len(lists) > asked {
		return fmt.Errorf("%w: %d access lists, %d asked for", errInvalid, len(lists), asked)
	}
	some := false
	for i, list := range lists {
		if len(list) == 0 {
			continue
		}
		if some = true; open[crypto.Keccak256Hash(list)] == nil {
			return fmt.Errorf("%w: access list %d belongs to no block asked for", errInvalid, i)
		}
	}
	if !some {
		return errEmpty
	}
	return nil
}
