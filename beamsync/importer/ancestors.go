// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"context"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// ancestors finds headers for BLOCKHASH: by hash, in the store or from peers, a whole window
// at a time because the opcode walks down from the parent.
type ancestors struct{ i *Importer }

// LocalHeader implements [prefetch.Ancestors].
func (a ancestors) LocalHeader(hash common.Hash) *types.Header { return a.i.cfg.Chain.Header(hash) }

// Header implements [evm.Headers].
func (a ancestors) Header(ctx context.Context, hash common.Hash, number uint64) (*types.Header, error) {
	if header := a.i.cfg.Chain.Header(hash); header != nil {
		return header, nil
	}
	headers, err := a.i.cfg.Blocks.Headers(ctx, hash, int(min(ancestorHeaders, number+1)))
	if err != nil {
		return nil, fmt.Errorf("header %d %x: %w", number, hash, err)
	}
	if err := a.i.cfg.Chain.AddHeaders(headers); err != nil {
		return nil, err
	}
	return headers[0], nil
}

// WantAncestors requests headers below the stored ones. They come when a peer has them.
func (i *Importer) WantAncestors() {
	select {
	case i.ancestry <- struct{}{}:
	default: // requested already
	}
}

// fetchAncestry fetches headers below the oldest stored one, for the safe and finalized markers and BLOCKHASH. It
// serves one request at a time until ctx ends.
func (i *Importer) fetchAncestry(ctx context.Context) {
	for {
		select {
		case <-i.ancestry:
		case <-ctx.Done():
			return
		}
		number := i.cfg.Chain.Tail()
		tail := i.cfg.Chain.HeaderByNumber(number)
		if number == 0 || tail == nil {
			continue
		}
		headers, err := i.cfg.Blocks.Headers(ctx, tail.ParentHash, int(min(ancestorHeaders, number)))
		if err == nil {
			err = i.cfg.Chain.AddHeaders(headers)
		}
		if err != nil && ctx.Err() == nil {
			i.cfg.Log.Warn("Failed to fetch ancestor headers", "below", number, "err", err)
		}
	}
}
