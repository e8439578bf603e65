// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
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

// noBlobs is a node without a pool.
type noBlobs struct{}

func (noBlobs) HasBlobs(_ context.Context, hashes []common.Hash) []bool {
	return make([]bool, len(hashes))
}

func (noBlobs) Blobs(_ context.Context, hashes []common.Hash, _ byte) ([]*kzg4844.Blob, [][]kzg4844.Proof, error) {
	return make([]*kzg4844.Blob, len(hashes)), make([][]kzg4844.Proof, len(hashes)), nil
}

func (noBlobs) BlobCells(hashes []common.Hash, _ types.CustodyBitmap) ([][]*kzg4844.Cell, [][]*kzg4844.Proof, error) {
	return make([][]*kzg4844.Cell, len(hashes)), make([][]*kzg4844.Proof, len(hashes)), nil
}

func (noBlobs) CacheCells(bool)                {}
func (noBlobs) SetCustody(types.CustodyBitmap) {}

// GetBlobsV1 is for Cancun and Prague: each blob with one proof, null for those that are not in the pool
// (execution-apis, src/engine/cancun.md). The pool has sidecars of version 1 only, so all are null, as in
// go-ethereum.
func (api *engineAPI) GetBlobsV1(ctx context.Context, hashes []common.Hash) (engine.BlobAndProofListV1, error) {
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
	result := make(engine.BlobAndProofListV1, len(hashes))
	found := 0
	for i, blob := range blobs {
		if blob != nil {
			result[i] = &engine.BlobAndProofV1{Blob: blob[:], Proof: proofs[i][0][:]}
			found++
		}
	}
	api.countBlobs(found, len(hashes))
	return result, nil
}

// GetBlobsV2 is for Osaka and later: each blob with its cell proofs. It returns null if one is not in the pool,
// or before Osaka (execution-apis, src/engine/osaka.md).
func (api *engineAPI) GetBlobsV2(ctx context.Context, hashes []common.Hash) (engine.BlobAndProofListV2, error) {
	return api.getBlobs(ctx, hashes, false)
}

// GetBlobsV3 is GetBlobsV2 with null for each blob that is not in the pool.
func (api *engineAPI) GetBlobsV3(ctx context.Context, hashes []common.Hash) (engine.BlobAndProofListV2, error) {
	return api.getBlobs(ctx, hashes, true)
}

func (api *engineAPI) getBlobs(ctx context.Context, hashes []common.Hash, partial bool) (engine.BlobAndProofListV2, error) {
	if !api.hasCellProofs() {
		return nil, nil
	}
	if err := checkBlobHashes(hashes); err != nil {
		return nil, err
	}
	available := 0
	for _, has := range api.b.Blobs.HasBlobs(ctx, hashes) { // reads no blob, and keeps those in the pool's cache
		if has {
			available++
		}
	}
	if !partial && available < len(hashes) {
		api.countBlobs(available, len(hashes))
		return nil, nil
	}
	blobs, proofs, err := api.b.Blobs.Blobs(ctx, hashes, types.BlobSidecarVersion1)
	if err != nil {
		return nil, engine.InvalidParams.With(err)
	}
	result := make(engine.BlobAndProofListV2, len(hashes))
	found := 0
	for i, blob := range blobs {
		if blob == nil {
			continue
		}
		result[i] = &engine.BlobAndProofV2{Blob: blob[:], CellProofs: make([]hexutil.Bytes, len(proofs[i]))}
		for k := range proofs[i] {
			result[i].CellProofs[k] = proofs[i][k][:]
		}
		found++
	}
	api.countBlobs(found, len(hashes))
	if !partial && found < len(hashes) {
		return nil, nil
	}
	return result, nil
}

// GetBlobsV4 returns the cells of blobs in some columns, with their proofs (execution-apis, src/engine/amsterdam.md).
// Before Osaka it returns null, for a blob that is not in the pool null, for a missing cell null in its place.
func (api *engineAPI) GetBlobsV4(hashes []common.Hash, columns types.CustodyBitmap) (blobCells, error) {
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
	result := make(blobCells, len(hashes))
	found := 0
	for i := range hashes {
		if cells[i] == nil || proofs[i] == nil {
			continue
		}
		of := &engine.BlobCellsAndProofsV1{BlobCells: make([]*hexutil.Bytes, len(cells[i])), Proofs: make([]*hexutil.Bytes, len(proofs[i]))}
		for k, cell := range cells[i] {
			if cell != nil {
				data := hexutil.Bytes(cell[:])
				of.BlobCells[k] = &data
			}
		}
		for k, proof := range proofs[i] {
			if proof != nil {
				data := hexutil.Bytes(proof[:])
				of.Proofs[k] = &data
			}
		}
		result[i] = of
		found++
	}
	api.countBlobs(found, len(hashes))
	return result, nil
}

// blobCells is the result of GetBlobsV4. It has up to half a megabyte for each blob, for which encoding/json would take a
// multiple of the time.
type blobCells []*engine.BlobCellsAndProofsV1

// MarshalJSON implements json.Marshaler.
func (list blobCells) MarshalJSON() ([]byte, error) {
	if list == nil {
		return []byte("null"), nil
	}
	out := []byte{'['}
	for i, of := range list {
		if i > 0 {
			out = append(out, ',')
		}
		if of == nil {
			out = append(out, "null"...)
			continue
		}
		out = appendHexList(append(out, `{"blob_cells":`...), of.BlobCells)
		out = append(appendHexList(append(out, `,"proofs":`...), of.Proofs), '}')
	}
	return append(out, ']'), nil
}

func appendHexList(out []byte, items []*hexutil.Bytes) []byte {
	out = append(out, '[')
	for i, item := range items {
		if i > 0 {
			out = append(out, ',')
		}
		if item == nil {
			out = append(out, "null"...)
			continue
		}
		out = append(hex.AppendEncode(append(out, `"0x`...), *item), '"')
	}
	return append(out, ']')
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
