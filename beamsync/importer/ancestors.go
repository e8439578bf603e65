package importer

import (
	"context"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// ancestors finds headers for BLOCKHASH: by hash, in the chain or from peers, a whole window
// at a time because the opcode walks down from the parent.
type ancestors struct{ i *Importer }

// Held implements [prefetch.Ancestors].
func (a ancestors) Held(hash common.Hash) *types.Header { return a.i.cfg.Chain.Header(hash) }

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
