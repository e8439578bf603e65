// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"fmt"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto/kzg4844"
	"github.com/ethereum/go-ethereum/params/forks"
)

// maxBlobHashes is the number of blobs in one request, as in go-ethereum. execution-apis requires at least 128.
const maxBlobHashes = 128

// Blobs are the blobs of pooled transactions, by versioned hash; *pool.Pool implements it. All methods answer from
// the pool at once. Results have the order and the length of the request.
type Blobs interface {
	HasBlobs(ctx context.Context, hashes []common.Hash) []bool
	// Blobs returns blobs with the proofs of a sidecar version, nil for those without them.
	Blobs(ctx context.Context, hashes []common.Hash, version byte) ([]*kzg4844.Blob, [][]kzg4844.Proof, error)
	// BlobCells returns cells and their proofs, one per blob and column; nil where one is missing, and for blobs
	// that are missing.
	BlobCells(hashes []common.Hash, columns types.CustodyBitmap) ([][]*kzg4844.Cell, [][]*kzg4844.Proof, error)
	// CacheCells says whether the consensus client asks for cells rather than for blobs.
	CacheCells(on bool)
	// SetCustody sets the columns whose cells the consensus client needs of each blob.
	SetCustody(columns types.CustodyBitmap)
}

// GetBlobsV1 is for Cancun and Prague: each blob with one proof, null for those that are not in the pool
// (execution-apis, src/engine/cancun.md). The pool has sidecars of version 1 only, so all are null, as in
// go-ethereum.
func (api *engineAPI) GetBlobsV1(ctx context.Context, hashes []common.Hash) (*blobList, error) {
	if !api.checkFork(api.b.Chain.CurrentHeader().Time, forks.Cancun, forks.Prague) {
		return nil, forkErr("engine_getBlobsV1 is only available at Cancun/Prague fork")
	}
	if err := checkBlobHashes(hashes); err != nil {
		return nil, err
	}
	blobs, proofs, err := api.b.Blobs.Blobs(ctx, hashes, types.BlobSidecarVersion0)
	if err != nil {
		return nil, engine.InvalidParams.With(err)
	}
	result := &blobList{blobs, proofs, false}
	api.countBlobs(result.found(), len(hashes))
	return result, nil
}

// GetBlobsV2 is for Osaka and later: each blob with its cell proofs. It returns null if one is not in the pool,
// or before Osaka (execution-apis, src/engine/osaka.md).
func (api *engineAPI) GetBlobsV2(ctx context.Context, hashes []common.Hash) (*blobList, error) {
	return api.getBlobs(ctx, hashes, false)
}

// GetBlobsV3 is GetBlobsV2 with null for each blob that is not in the pool.
func (api *engineAPI) GetBlobsV3(ctx context.Context, hashes []common.Hash) (*blobList, error) {
	return api.getBlobs(ctx, hashes, true)
}

func (api *engineAPI) getBlobs(ctx context.Context, hashes []common.Hash, partial bool) (*blobList, error) {
	if !api.hasCellProofs() {
		return nil, nil
	}
	if err := checkBlobHashes(hashes); err != nil {
		return nil, err
	}
	if !partial { // without reading a blob
		available := 0
		for _, has := range api.b.Blobs.HasBlobs(ctx, hashes) {
			if has {
				available++
			}
		}
		if available < len(hashes) {
			api.countBlobs(available, len(hashes))
			return nil, nil
		}
	}
	blobs, proofs, err := api.b.Blobs.Blobs(ctx, hashes, types.BlobSidecarVersion1)
	if err != nil {
		return nil, engine.InvalidParams.With(err)
	}
	result := &blobList{blobs, proofs, true}
	found := result.found()
	api.countBlobs(found, len(hashes))
	if !partial && found < len(hashes) {
		return nil, nil
	}
	return result, nil
}

// GetBlobsV4 returns the cells of blobs in some columns, with their proofs (execution-apis, src/engine/amsterdam.md).
// Before Osaka it returns null, for a blob that is not in the pool null, for a missing cell null in its place.
func (api *engineAPI) GetBlobsV4(hashes []common.Hash, columns types.CustodyBitmap) (*cellList, error) {
	if !api.hasCellProofs() {
		return nil, nil
	}
	if err := checkBlobHashes(hashes); err != nil {
		return nil, err
	}
	cells, proofs, err := api.b.Blobs.BlobCells(hashes, columns)
	if err != nil {
		return nil, engine.InvalidParams.With(err)
	}
	result := &cellList{cells, proofs}
	api.countBlobs(result.found(), len(hashes))
	return result, nil
}

// HasBlobs says which blobs are in the pool, in every fork.
func (api *engineAPI) HasBlobs(ctx context.Context, hashes []common.Hash) []bool {
	return api.b.Blobs.HasBlobs(ctx, hashes)
}

// hasCellProofs says whether the head is in Osaka or later, where sidecars have cell proofs.
func (api *engineAPI) hasCellProofs() bool {
	return api.config().LatestFork(api.b.Chain.CurrentHeader().Time) >= forks.Osaka
}

func checkBlobHashes(hashes []common.Hash) error {
	if len(hashes) > maxBlobHashes {
		return engine.TooLargeRequest.With(fmt.Errorf("requested blob count too large: %v", len(hashes)))
	}
	return nil
}

func (api *engineAPI) countBlobs(found, requested int) {
	api.b.metrics.blobs.WithLabelValues(blobsFound).Add(float64(found))
	api.b.metrics.blobs.WithLabelValues(blobsMissing).Add(float64(requested - found))
}
