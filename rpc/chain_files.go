// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/beamsync/importer"
	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/internal/blockfile"
)

// chainFilesAPI is the part of the admin namespace that writes and reads files of blocks: RLP, or RLP in gzip if the name ends with .gz.
type chainFilesAPI struct {
	b       *backend
	limiter *limiter // one at a time
}

// ExportChain writes the canonical blocks from first to last into a new file; without last up to the head, without first from genesis on.
func (api *chainFilesAPI) ExportChain(ctx context.Context, name string, first, last *uint64) (bool, error) {
	if first == nil && last != nil {
		return false, errors.New("last cannot be specified without first")
	}
	from, to := valueOr(first, 0), valueOr(last, api.b.Chain.CurrentHeader().Number.Uint64())
	if from > to {
		return false, fmt.Errorf("export failed: first (%d) is greater than last (%d)", from, to)
	}
	ctx, release, err := api.limiter.tryAcquire(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	file, err := api.b.createFile(ctx, name)
	if err != nil {
		return false, err
	}
	err = errors.Join(api.export(ctx, blockfile.NewWriter(file, name), from, to), file.Close())
	if err != nil {
		return false, errors.Join(err, os.Remove(file.Name())) // a part of it would look like the whole
	}
	return true, nil
}

func (api *chainFilesAPI) export(ctx context.Context, file *blockfile.Writer, first, last uint64) error {
	turn := api.b.processors.begin(ctx, 0, 0)
	defer turn.release()
	for number := first; number <= last; number++ {
		turn.yield()
		if err := ctx.Err(); err != nil {
			return err
		}
		block := api.b.Chain.BlockByNumber(number)
		if block == nil {
			return fmt.Errorf("export failed on #%d: not found", number)
		}
		if err := file.Write(block); err != nil {
			return err
		}
	}
	return file.Close()
}

// ImportChain executes the blocks of a file and makes each the head. Blocks that were executed before are skipped, and so is genesis. The next
// choice of the consensus client counts more.
func (api *chainFilesAPI) ImportChain(ctx context.Context, name string) (bool, error) {
	path, err := api.b.filePath(ctx, name)
	if err != nil {
		return false, err
	}
	ctx, release, err := api.limiter.tryAcquire(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	file, err := blockfile.Open(path)
	if err != nil {
		return false, err
	}
	defer file.Close()
	for index := 0; ; index++ {
		block, err := file.Next()
		switch {
		case errors.Is(err, io.EOF):
			return true, nil
		case err != nil:
			return false, fmt.Errorf("block %d: failed to parse: %w", index, err)
		case block.NumberU64() == 0 || api.b.Chain.Status(block.Hash()) == chain.Executed:
			continue
		}
		if err := api.execute(ctx, block); err != nil {
			return false, fmt.Errorf("block %d (%x): failed to insert: %w", block.NumberU64(), block.Hash(), err)
		}
	}
}

func (api *chainFilesAPI) execute(ctx context.Context, block *types.Block) error {
	if api.b.Chain.Status(block.ParentHash()) != chain.Executed {
		return fmt.Errorf("its parent %x was not executed here", block.ParentHash())
	}
	outcome := api.b.Engine.NewPayload(ctx, block)
	if outcome.Status == importer.Valid {
		var err error
		if outcome, err = api.b.Engine.Forkchoice(ctx, importer.Forkchoice{Head: block.Hash()}); err != nil {
			return err
		}
	}
	switch outcome.Status {
	case importer.Valid:
		return nil
	case importer.Invalid:
		return outcome.Reason
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return errors.New("it could not be executed: state is missing")
}
