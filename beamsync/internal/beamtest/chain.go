// SPDX-License-Identifier: LGPL-3.0-or-later

package beamtest

import (
	"context"
	"errors"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
)

// serve answers as a geth with these blocks does.
func Serve(blocks []*types.Block, lists map[common.Hash]rlp.RawValue) *FakeChain {
	at := make(map[common.Hash]int)
	for i, b := range blocks {
		at[b.Hash()] = i
	}
	return &FakeChain{
		Headers: func(origin common.Hash, amount int) (headers []*types.Header) {
			i, ok := at[origin]
			for ; ok && i >= 0 && len(headers) < amount; i-- {
				headers = append(headers, blocks[i].Header())
			}
			return headers
		},
		Bodies: func(hashes []common.Hash) (bodies []*types.Body) {
			for _, h := range hashes {
				if i, ok := at[h]; ok {
					bodies = append(bodies, blocks[i].Body())
				}
			}
			return bodies
		},
		Lists: func(hashes []common.Hash) (found []rlp.RawValue, err error) {
			for _, h := range hashes {
				found = append(found, lists[h])
			}
			return found, nil
		},
	}
}

func ChainPeerOf(id string, chain *FakeChain) *FakePeer {
	p := NewFakePeer(id, RTT)
	p.Chain = chain
	return p
}

// fakeChain answers questions about the chain.
type FakeChain struct {
	Headers func(origin common.Hash, amount int) []*types.Header
	Bodies  func(hashes []common.Hash) []*types.Body
	Lists   func(hashes []common.Hash) ([]rlp.RawValue, error)
}

// Hashes returns the hashes of headers.
func Hashes(headers []*types.Header) []common.Hash {
	hashes := make([]common.Hash, len(headers))
	for i, h := range headers {
		hashes[i] = h.Hash()
	}
	return hashes
}

func (p *FakePeer) Ask(ctx context.Context) error {
	p.Mu.Lock()
	n := p.Asked
	p.Asked++
	p.Mu.Unlock()
	return p.travel(ctx, n)
}

func (p *FakePeer) Headers(ctx context.Context, origin common.Hash, amount int, _ bool) ([]*types.Header, error) {
	if err := p.Ask(ctx); err != nil || p.Chain == nil {
		return nil, err
	}
	return p.Chain.Headers(origin, amount), nil
}

func (p *FakePeer) Bodies(ctx context.Context, headers []*types.Header) ([]*types.Body, error) {
	if err := p.Ask(ctx); err != nil || p.Chain == nil {
		return nil, err
	}
	return p.Chain.Bodies(Hashes(headers)), nil
}

func (p *FakePeer) Receipts(_ context.Context, _ []*types.Header) ([]types.Receipts, error) {
	return nil, errors.ErrUnsupported
}

func (p *FakePeer) AccessLists(ctx context.Context, headers []*types.Header) ([]rlp.RawValue, error) {
	if err := p.Ask(ctx); err != nil {
		return nil, err
	}
	if p.Chain == nil || p.Chain.Lists == nil {
		return nil, errors.ErrUnsupported
	}
	return p.Chain.Lists(Hashes(headers))
}

var TestKey, _ = crypto.HexToECDSA("b71c71a67e1177ad4e901695e1b4b9ee17ae16c6668d313eac2f96dbcda3f291")
