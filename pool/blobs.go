// SPDX-License-Identifier: LGPL-3.0-or-later

package pool

import (
	"context"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto/kzg4844"
)

// Blobs of pooled transactions by versioned hash (EIP-4844), for the consensus client. They come from
// go-ethereum's cache of the blobs that the next block probably has, otherwise from the blob pool on disk: no
// state is read, and nothing is fetched. While the blob pool is not open there are none. All results have the
// order and the length of the request.

// HasBlobs says which blobs are in the pool, perhaps not with all cells, and keeps these in the cache.
func (p *Pool) HasBlobs(ctx context.Context, hashes []common.Hash) []bool {
	if at := p.at.Load(); at != nil && at.blob != nil {
		if has := at.cache.HasBlobs(ctx, hashes); has != nil { // nil: the cache has stopped
			return has
		}
	}
	return make([]bool, len(hashes))
}

// Blobs returns blobs with the proofs of a sidecar version (types.BlobSidecarVersion0: one per blob, or
// types.BlobSidecarVersion1: one per cell); nil for blobs that are missing or have other proofs.
func (p *Pool) Blobs(ctx context.Context, hashes []common.Hash, version byte) ([]*kzg4844.Blob, [][]kzg4844.Proof, error) {
	at := p.at.Load()
	if at == nil || at.blob == nil {
		return make([]*kzg4844.Blob, len(hashes)), make([][]kzg4844.Proof, len(hashes)), nil
	}
	blobs, _, proofs, err := at.cache.GetBlobs(ctx, hashes, version)
	return blobs, proofs, err
}

// BlobCells returns the cells of blobs in some columns, with their proofs: for each blob one of each per column,
// nil where the cell is missing; nil for blobs that are missing.
func (p *Pool) BlobCells(hashes []common.Hash, columns types.CustodyBitmap) ([][]*kzg4844.Cell, [][]*kzg4844.Proof, error) {
	at := p.at.Load()
	if at == nil || at.blob == nil {
		return make([][]*kzg4844.Cell, len(hashes)), make([][]*kzg4844.Proof, len(hashes)), nil
	}
	return at.cache.GetCells(hashes, columns)
}

// CacheCells says whether the consensus client asks for cells (BlobCells) rather than for blobs (Blobs). The
// cache is filled with what it asks for.
func (p *Pool) CacheCells(on bool) {
	p.cacheCells.Store(on)
	if at := p.at.Load(); at != nil && at.blob != nil {
		at.cache.SetCellMode(on)
	}
}
